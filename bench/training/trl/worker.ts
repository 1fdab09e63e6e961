/** A side of the benchmark in a process of its own, which takes a step when it is asked to. */
import { z } from 'zod';
import { startPython, type Program } from '../../python-worker.ts';

export interface Programs {
  readonly ours: Program;
  readonly theirs: Program;
}

export interface Work {
  readonly model: string;
  readonly vocabulary: number;
  readonly prompt: number;
  readonly answer: number;
  readonly batch: number;
  readonly seed: number;
  readonly steps: number;
}

const step = z.object({
  seconds: z.number(),
  /** Of all threads of the process. */
  cpu_seconds: z.number(),
  generate: z.number(),
  train: z.number(),
  /** Only ours serves what it has trained. */
  publish: z.number().default(0),
  reward: z.number(),
  peak_megabytes: z.number(),
});
export type Step = z.infer<typeof step>;

export interface Worker {
  /** Takes one step with so many threads. */
  step(threads: number): Promise<Step>;
  close(): Promise<void>;
}

/** Starts a worker and waits until it is ready for its first step. */
export async function startWorker(program: Program, work: Work, threads: number): Promise<Worker> {
  const worker = await startPython(program, [JSON.stringify(work)], threads);
  return {
    step: async (count) => step.parse(await worker.ask({ threads: count })),
    close: () => worker.close(),
  };
}
