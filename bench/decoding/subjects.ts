/** Who decodes: processes that are asked for fixed lengths, and servers that are asked over HTTP. */
import { z } from 'zod';
import { startPython, type Program } from '../python-worker.ts';

export interface Round {
  readonly streams: number;
  readonly prompt: number;
  readonly new: number;
  readonly seed: number;
}

export interface Decoded {
  readonly tokens: number;
  readonly seconds: number;
  /** Of all threads of the process; undefined for a server. */
  readonly cpuSeconds: number | undefined;
  /** The most memory that the process has held so far; undefined where it cannot be seen. */
  readonly peakMegabytes: number | undefined;
}

export interface Subject {
  readonly name: string;
  /** Whether it can be told how many threads to use; the others choose. */
  readonly threaded: boolean;
  decode(round: Round, threads: number): Promise<Decoded>;
  close(): Promise<void>;
}

const answer = z.object({ seconds: z.number(), cpu_seconds: z.number(), peak_bytes: z.number() });

/** A subject of `worker.py`; `threads` are the most that it may use. */
export async function startWorker(
  name: 'apprentice' | 'generate' | 'generate_batch',
  program: Program,
  model: string,
  threads: number,
): Promise<Subject> {
  const worker = await startPython(program, ['--subject', name, '--model', model], threads);
  return {
    name,
    threaded: name !== 'apprentice',
    async decode(round, count) {
      const given = answer.parse(await worker.ask({ ...round, threads: count }));
      return {
        tokens: round.streams * round.new,
        seconds: given.seconds,
        cpuSeconds: given.cpu_seconds,
        peakMegabytes: given.peak_bytes / 2 ** 20,
      };
    },
    close: () => worker.close(),
  };
}
