/**
 * Whether both sides learn the same from the same number of samples: the tiny model's mean reward in each step, by seed.
 * A seed decides the prompts, which both sides get, and what each side draws.
 */
import { availableParallelism } from 'node:os';
import type { Program } from '../../python-worker.ts';
import { startWorker, type Programs } from './worker.ts';

interface LearningOptions {
  readonly model: string;
  readonly programs: Programs;
  readonly seeds: readonly number[];
  readonly steps: number;
  readonly say: (line: string) => void;
}

/** The work of a step. The vocabulary is the tiny model's. */
const shape = { vocabulary: 651, prompt: 32, answer: 8, batch: 64 };
/** How many of the last steps count. */
const last = 4;

export async function compareLearning({ model, programs, seeds, steps, say }: LearningOptions) {
  const threads = availableParallelism();
  const rewardsOf = async (program: Program, seed: number): Promise<number[]> => {
    const work = { ...shape, model, seed, steps };
    const worker = await startWorker(program, work, threads);
    try {
      const rewards: number[] = [];
      for (let step = 0; step < steps; step += 1) rewards.push((await worker.step(threads)).reward);
      return rewards;
    } finally {
      await worker.close();
    }
  };
  const curves: { ours: number[][]; theirs: number[][] } = { ours: [], theirs: [] };
  for (const seed of seeds)
    for (const side of ['ours', 'theirs'] as const) {
      const rewards = await rewardsOf(programs[side], seed);
      say(`Seed ${String(seed)}, ${side}: ${rewards.map((one) => one.toFixed(3)).join(' ')}`);
      curves[side].push(rewards);
    }
  return {
    ...shape,
    samples: steps * shape.batch,
    seeds,
    first: { ours: ends(curves.ours, 0, 1), theirs: ends(curves.theirs, 0, 1) },
    last: { ours: ends(curves.ours, -last), theirs: ends(curves.theirs, -last) },
    curves,
  };
}

/** The mean reward of the steps from `from` on, for each seed. */
function ends(curves: readonly number[][], from: number, to?: number): number[] {
  return curves.map((rewards) => {
    const part = rewards.slice(from, to);
    return part.reduce((sum, one) => sum + one, 0) / part.length;
  });
}
