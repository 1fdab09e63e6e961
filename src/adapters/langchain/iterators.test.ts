import { describe, expect, it } from 'vitest';
import type { StreamEnd } from '../../capture/tap-callbacks.ts';
import { lateIterator, scopedIterator, tapIterator } from './iterators.ts';

async function* count(to: number, onEnd: () => void = () => undefined) {
  try {
    for (let at = 1; at <= to; at += 1) yield await Promise.resolve(at);
  } finally {
    onEnd();
  }
}

async function* failing() {
  yield await Promise.resolve(1);
  throw new Error('broken');
}

async function read(iterator: AsyncIterable<number>): Promise<number[]> {
  const seen: number[] = [];
  for await (const one of iterator) seen.push(one);
  return seen;
}

describe('tapIterator', () => {
  const tapped = (source: AsyncIterator<number>) => {
    const parts: number[] = [];
    const ends: StreamEnd['type'][] = [];
    const iterator = tapIterator(source, {
      part: (part) => parts.push(part),
      end: (how) => ends.push(how.type),
    });
    return { iterator, parts, ends };
  };

  it('passes everything on and tells the end', async () => {
    const { iterator, parts, ends } = tapped(count(3));
    expect(await read(iterator)).toEqual([1, 2, 3]);
    expect([parts, ends]).toEqual([[1, 2, 3], ['done']]);
  });

  it('tells an error from a reader that leaves, and closes the source for both', async () => {
    const broken = tapped(failing());
    await expect(read(broken.iterator)).rejects.toThrow('broken');
    expect(broken.ends).toEqual(['error']);
    let closed = false;
    const left = tapped(count(3, () => (closed = true)));
    for await (const one of left.iterator) if (one === 2) break;
    expect([left.parts, left.ends, closed]).toEqual([[1, 2], ['cancelled'], true]);
  });
});

describe('scopedIterator', () => {
  it('gives the first step that was taken, and takes each other one in the scope', async () => {
    let steps = 0;
    const scope = <R>(work: () => R): R => {
      steps += 1;
      return work();
    };
    const source = count(3);
    expect(await read(scopedIterator(source, scope, await source.next()))).toEqual([1, 2, 3]);
    expect(steps).toBe(3); // 2, 3 and the end
  });
});

describe('lateIterator', () => {
  it('opens at the first step, once, and never where nobody takes one', async () => {
    let opened = 0;
    const open = () => {
      opened += 1;
      return Promise.resolve(count(2));
    };
    const unread = lateIterator(open);
    await unread.return(undefined);
    expect(opened).toBe(0);
    expect(await read(lateIterator(open))).toEqual([1, 2]);
    expect(opened).toBe(1);
  });

  it('rejects where it cannot be opened', async () => {
    await expect(read(lateIterator(() => Promise.reject(new Error('closed'))))).rejects.toThrow('closed');
  });
});
