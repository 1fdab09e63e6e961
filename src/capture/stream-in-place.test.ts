import { inspect } from 'node:util';
import { MessageChannel } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { tapInPlace } from './stream-in-place.ts';
import type { StreamEnd } from './tap-callbacks.ts';

interface Watched {
  readonly source: ReadableStream<number>;
  readonly stream: ReadableStream<number>;
  readonly seen: number[];
  readonly ends: StreamEnd['type'][];
}

function watched(source = numbers()): Watched {
  const seen: number[] = [];
  const ends: StreamEnd['type'][] = [];
  const stream = tapInPlace(source, {
    part: (part) => seen.push(part),
    end: (end) => ends.push(end.type),
  });
  return { source, stream, seen, ends };
}

/** 1, 2, 3 and the end. */
function numbers(Class = ReadableStream<number>): ReadableStream<number> {
  let next = 0;
  return new Class({
    pull: (controller) => {
      next += 1;
      if (next <= 3) controller.enqueue(next);
      else controller.close();
    },
  });
}

async function all(stream: AsyncIterable<number>): Promise<number[]> {
  const found: number[] = [];
  for await (const part of stream) found.push(part);
  return found;
}

describe('tapInPlace', () => {
  it('gives back the stream itself, which nobody can tell from one that is not watched', () => {
    const { source, stream } = watched();
    expect(stream).toBe(source);
    expect(stream.constructor).toBe(ReadableStream);
    expect(Reflect.ownKeys(stream)).toEqual(Reflect.ownKeys(numbers()));
    expect(inspect(stream)).toBe(inspect(numbers()));
  });

  it('watches a stream that cannot be changed, or is of a class of its own, from outside', async () => {
    class Own extends ReadableStream<number> {}
    for (const source of [Object.freeze(numbers()), numbers(Own)]) {
      const { stream, seen, ends } = watched(source);
      expect(stream).not.toBe(source);
      expect(await all(stream)).toEqual([1, 2, 3]);
      expect({ seen, ends }).toEqual({ seen: [1, 2, 3], ends: ['done'] });
    }
  });

  it('can be watched twice', async () => {
    const inner = watched();
    const outer = watched(inner.stream);
    expect(await all(outer.stream)).toEqual([1, 2, 3]);
    for (const { seen, ends } of [inner, outer])
      expect({ seen, ends }).toEqual({ seen: [1, 2, 3], ends: ['done'] });
  });

  const readers: Readonly<Record<string, (stream: ReadableStream<number>) => Promise<number[]>>> = {
    'a loop': all,
    'an iterator that keeps the stream': (stream) => all(stream.values({ preventCancel: true })),
    'a reader': async (stream) => {
      const reader = stream.getReader();
      const found: number[] = [];
      for (let next = await reader.read(); !next.done; next = await reader.read()) found.push(next.value);
      return found;
    },
    'two branches': async (stream) => {
      const [one, other] = stream.tee();
      const found = await Promise.all([all(one), all(other)]);
      expect(found[0]).toEqual(found[1]);
      return found[0];
    },
    'a sink': async (stream) => {
      const found: number[] = [];
      await stream.pipeTo(new WritableStream({ write: (part) => void found.push(part) }));
      return found;
    },
    'a pipe with options': (stream) =>
      all(stream.pipeThrough(new TransformStream<number, number>(), { preventCancel: true })),
    'a pipe': (stream) => all(stream.pipeThrough(new TransformStream<number, number>())),
    'a response': async (stream) => {
      const text = stream.pipeThrough(
        new TransformStream<number, Uint8Array>({
          transform: (part, controller) => {
            controller.enqueue(new TextEncoder().encode(` ${String(part)}`));
          },
        }),
      );
      return (await new Response(text).text()).split(' ').slice(1).map(Number);
    },
  };

  it.each(Object.keys(readers))('sees each part once, whoever reads: %s', async (name) => {
    const { stream, seen, ends } = watched();
    expect(await readers[name]?.(stream)).toEqual([1, 2, 3]);
    expect({ seen, ends }).toEqual({ seen: [1, 2, 3], ends: ['done'] });
  });

  it('is read on by a second reader where the first has let go, and locked only meanwhile', async () => {
    const { stream, seen, ends } = watched();
    expect(stream.locked).toBe(false);
    const first = stream.getReader();
    expect(stream.locked).toBe(true);
    expect(() => stream.getReader()).toThrow(TypeError);
    expect(await first.read()).toEqual({ done: false, value: 1 });
    first.releaseLock();
    expect(stream.locked).toBe(false);
    expect(await all(stream.pipeThrough(new TransformStream<number, number>()))).toEqual([2, 3]);
    expect({ seen, ends }).toEqual({ seen: [1, 2, 3], ends: ['done'] });
  });

  it('refuses what a stream that is piped refuses', async () => {
    const { stream } = watched();
    stream.pipeThrough(new TransformStream<number, number>());
    expect(() => stream.getReader()).toThrow(TypeError);
    expect(() => stream.tee()).toThrow(TypeError);
    expect(() => stream.values()).toThrow(TypeError);
    expect(() => stream.pipeThrough(new TransformStream<number, number>())).toThrow(TypeError);
    await expect(stream.cancel()).rejects.toThrow(TypeError);
    await expect(stream.pipeTo(new WritableStream())).rejects.toThrow(TypeError);
  });

  it('tells when nobody wants it, and when a reader leaves', async () => {
    const unwanted = watched();
    await unwanted.stream.cancel('enough');
    expect(unwanted.ends).toEqual(['cancelled']);
    const left = watched();
    for await (const part of left.stream) if (part === 2) break;
    expect({ seen: left.seen, ends: left.ends }).toEqual({ seen: [1, 2], ends: ['cancelled'] });
  });

  it('goes to another thread as it is', async () => {
    const { stream, seen } = watched();
    const { port1, port2 } = new MessageChannel();
    const arrived = new Promise<ReadableStream<number>>((resolve) => port2.once('message', resolve));
    port1.postMessage(stream, [stream as never]);
    expect(await all(await arrived)).toEqual([1, 2, 3]);
    expect(seen).toEqual([]);
    port1.close();
  });
});
