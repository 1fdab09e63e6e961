/** A side of the benchmark in a process of its own, which takes a step when it is asked to. */
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { z } from 'zod';

export interface Program {
  readonly python: string;
  readonly script: string;
  /** For PYTHONPATH. */
  readonly path: string;
}

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

const mark = '@result ';

/** Starts a worker and waits until it is ready for its first step. */
export async function startWorker(program: Program, work: Work, threads: number): Promise<Worker> {
  const child = execa(program.python, [program.script, JSON.stringify(work)], {
    env: {
      PYTHONPATH: program.path,
      OMP_NUM_THREADS: String(threads),
      // Without it both sides lose half of their time to threads that spin for each other.
      OMP_WAIT_POLICY: 'PASSIVE',
      HF_HUB_OFFLINE: '1',
      TOKENIZERS_PARALLELISM: 'false',
    },
    stdin: 'pipe',
    reject: false,
    buffer: false,
  });
  const tail: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    tail.push(line);
    if (tail.length > 30) tail.shift();
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    for (;;) {
      const line = await lines.next();
      if (line.done === true) throw new Error(`${program.script} ended:\n${tail.join('\n')}`);
      if (line.value.startsWith(mark)) return JSON.parse(line.value.slice(mark.length));
    }
  };
  await next();
  return {
    async step(count) {
      child.stdin.write(`${JSON.stringify({ threads: count })}\n`);
      return step.parse(await next());
    },
    async close() {
      child.stdin.end();
      await child;
    },
  };
}
