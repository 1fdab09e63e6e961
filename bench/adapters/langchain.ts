/**
 * What recording adds to a call of a LangChain model and of a LangChain agent, on a model inside the process that takes
 * no time. Bare and wrapped take turns, so that whatever else the machine does falls on both.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createApprentice, type Apprentice, type CaptureCounters } from 'apprentice';
import { wrapModel } from 'apprentice/langchain';
import { median, quantile, round } from '../statistics.ts';
import { chunksPerStream, makeAgent, makeModel, subjects, type Subject } from './langchain-subjects.ts';

const rounds = 21;

type Variant = 'bare' | 'wrapped';

/** Microseconds for each model call. */
export interface LangChainOverhead {
  readonly subjects: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** What became of the records: with drops, the figures would be of less work. */
  readonly recorded: CaptureCounters;
}

export async function benchLangChain(onProgress: (line: string) => void): Promise<LangChainOverhead> {
  const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
  const apprentice = createApprentice({ project: 'bench', name: 'bench', folder });
  const results: Record<string, Record<string, number>> = {};
  try {
    for (const subject of subjects) {
      onProgress(`langchain: ${subject.name}`);
      const model = makeModel();
      const wrapped = wrapModel(makeModel(), apprentice);
      const times = await measure(apprentice, subject, {
        bare: () => subject.run(model, makeAgent(model)),
        wrapped: () => subject.run(wrapped, makeAgent(wrapped)),
      });
      results[subject.name] = compare(subject, times);
    }
    apprentice.recorder.finishAll();
    await apprentice.flush({ timeoutMs: 60_000 });
    return { subjects: results, recorded: (await apprentice.status()).capture };
  } finally {
    await apprentice.close({ timeoutMs: 30_000 });
    await rm(folder, { recursive: true });
  }
}

function compare(subject: Subject, times: Record<Variant, number[]>): Record<string, number> {
  const bare = median(times.bare);
  const wrapped = median(times.wrapped);
  return {
    bare: round(bare),
    wrapped: round(wrapped),
    extra: round(wrapped - bare),
    // The second-lowest round has the least of what else the machine did.
    extraOfQuietRounds: round(quantile(times.wrapped, 0.05) - quantile(times.bare, 0.05)),
    ratio: round(wrapped / bare),
    ...(subject.streamed ? { extraForEachChunk: round((wrapped - bare) / chunksPerStream) } : {}),
  };
}

/** Microseconds of one call, in each round. */
async function measure(
  apprentice: Apprentice,
  subject: Subject,
  runs: Readonly<Record<Variant, () => Promise<unknown>>>,
): Promise<Record<Variant, number[]>> {
  const times: Record<Variant, number[]> = { bare: [], wrapped: [] };
  for (let turn = -3; turn < rounds; turn += 1) {
    for (const variant of ['bare', 'wrapped'] as const) {
      const began = performance.now();
      for (let count = 0; count < subject.repeats; count += 1) await runs[variant]();
      const each = ((performance.now() - began) * 1000) / subject.repeats / subject.calls;
      if (turn >= 0) times[variant].push(each);
      // What is left for later is not left to the other variant.
      await new Promise((resolve) => setTimeout(resolve, 20));
      await apprentice.flush({ timeoutMs: 30_000 });
    }
  }
  return times;
}
