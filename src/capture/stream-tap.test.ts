import { describe, expect, it } from 'vitest';
import { tapInPlace } from './stream-in-place.ts';
import { tapStream } from './stream-tap.ts';
import type { StreamEnd } from './tap-callbacks.ts';

const turns = () => new Promise((resolve) => setTimeout(resolve, 5));

interface Scene {
  readonly parts: number;
  /** The source fails after its parts. */
  readonly fails?: boolean;
  readonly transform?: Transformer<number, number>;
  /** What the sink of the transform holds before it asks the source to wait. */
  readonly room?: number;
}

const tenfold: Transformer<number, number> = {
  transform: (part, controller) => {
    controller.enqueue(part * 10);
  },
};

/** How a stream is watched. */
const taps = { tapStream, tapInPlace };
const ways = Object.keys(taps) as (keyof typeof taps)[];

/** Tells all that can be seen from outside: pulls and cancels of the source, what arrives, and how it ends. */
class Play {
  readonly log: string[] = [];
  readonly ends: StreamEnd[] = [];
  readonly seen: number[] = [];
  readonly stream: ReadableStream<number>;
  readonly #scene: Scene;

  constructor(scene: Scene, way?: keyof typeof taps) {
    let next = 0;
    this.#scene = scene;
    const source = new ReadableStream<number>({
      pull: (controller) => {
        next += 1;
        this.log.push(`pull ${String(next)}`);
        if (next <= scene.parts) controller.enqueue(next);
        else if (scene.fails === true) controller.error(new Error('source'));
        else controller.close();
      },
      cancel: (reason: unknown) => {
        this.log.push(`cancel ${String(reason)}`);
      },
    });
    const callbacks = {
      part: (part: number) => this.seen.push(part),
      end: (end: StreamEnd) => this.ends.push(end),
    };
    this.stream = way === undefined ? source : taps[way](source, callbacks);
  }

  piped(): ReadableStream<number> {
    const { transform = tenfold, room } = this.#scene;
    const sink = room === undefined ? undefined : new CountQueuingStrategy({ highWaterMark: room });
    return this.stream.pipeThrough(new TransformStream<number, number>(transform, sink));
  }

  async read(stream: ReadableStream<number>, most = Infinity): Promise<void> {
    const reader = stream.getReader();
    try {
      for (let count = 0; count < most; count += 1) {
        const { done, value } = await reader.read();
        this.log.push(done ? 'done' : `got ${String(value)}`);
        if (done) return;
      }
      await turns();
      this.log.push('leaves');
      await reader.cancel('enough');
    } catch (error) {
      this.log.push(String(error));
    } finally {
      await turns();
    }
  }
}

interface Watched {
  readonly what: string;
  readonly scene: Scene;
  /** Parts that the reader takes before it leaves. */
  readonly most?: number;
}

const scenes: Watched[] = [
  { what: 'all parts', scene: { parts: 3 } },
  { what: 'no part', scene: { parts: 0 } },
  { what: 'an error of the source', scene: { parts: 2, fails: true } },
  { what: 'a reader that leaves', scene: { parts: 9 }, most: 2 },
  { what: 'a sink with room for several parts', scene: { parts: 9, room: 4 }, most: 3 },
  {
    what: 'a transform that fails',
    scene: {
      parts: 9,
      transform: {
        transform: (part, controller) => {
          if (part === 2) throw new Error('sink');
          controller.enqueue(part);
        },
      },
    },
  },
  {
    what: 'a transform that has enough',
    scene: {
      parts: 9,
      transform: {
        transform: (part, controller) => {
          controller.enqueue(part);
          if (part === 2) controller.terminate();
        },
      },
    },
  },
];

describe.each(ways)('%s', (tap) => {
  it.each(scenes)(
    'behaves as the stream itself where it is piped through a transform: $what',
    async ({ scene, most }) => {
      const bare = new Play(scene);
      const tapped = new Play(scene, tap);
      for (const play of [bare, tapped]) {
        const stream = play.piped();
        expect(play.stream.locked).toBe(true);
        await turns();
        play.log.push('reads');
        await play.read(stream, most);
      }
      expect(tapped.log.filter((line) => !line.startsWith('pull'))).toEqual(
        bare.log.filter((line) => !line.startsWith('pull')),
      );
      expect(tapped.ends).toHaveLength(1);
      // A stream keeps one part ready of its own accord; a tapped one is read no further ahead than the bare one.
      expect(pulls(tapped)).toBeLessThanOrEqual(pulls(bare));
    },
  );

  it.each(scenes.slice(0, 4))(
    'behaves as the stream itself where it is read: $what',
    async ({ scene, most }) => {
      const bare = new Play(scene);
      const tapped = new Play(scene, tap);
      for (const play of [bare, tapped]) await play.read(play.stream, most);
      expect(tapped.log.filter((line) => !line.startsWith('pull'))).toEqual(
        bare.log.filter((line) => !line.startsWith('pull')),
      );
      expect(tapped.ends).toHaveLength(1);
    },
  );

  it.each(['piped', 'read'] as const)('shows each part once, and how it ended (%s)', async (way) => {
    const ends: readonly (readonly [Scene, StreamEnd['type'], number?])[] = [
      [{ parts: 3 }, 'done'],
      [{ parts: 3, fails: true }, 'error'],
      [{ parts: 9 }, 'cancelled', 3],
    ];
    for (const [scene, type, most] of ends) {
      const play = new Play(scene, tap);
      await play.read(way === 'piped' ? play.piped() : play.stream, most);
      expect(play.seen.slice(0, 3)).toEqual([1, 2, 3]);
      expect(play.ends.map((end) => end.type)).toEqual([type]);
    }
  });

  it('leaves what is piped with options, or into a locked sink, to the stream itself', async () => {
    const stopped = new Play({ parts: 9 }, tap);
    const abort = new AbortController();
    const output = stopped.stream.pipeThrough(new TransformStream<number, number>(), {
      signal: abort.signal,
    });
    abort.abort(new Error('stop'));
    await stopped.read(output);
    expect(stopped.log.at(-1)).toBe('Error: stop');
    expect(stopped.ends.map((end) => end.type)).toEqual(['cancelled']);
    const locked = new TransformStream<number, number>();
    locked.writable.getWriter();
    expect(() => new Play({ parts: 1 }, tap).stream.pipeThrough(locked)).toThrow(TypeError);
  });
});

function pulls({ log }: Play): number {
  return log.filter((line) => line.startsWith('pull')).length;
}
