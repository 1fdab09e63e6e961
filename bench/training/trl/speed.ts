/** Samples a second of both sides on one case, step by step in turns. */
import { availableParallelism } from 'node:os';
import { median } from '../../statistics.ts';
import { cases, type CaseName } from './cases.ts';
import { startWorker, type Programs, type Step, type Worker } from './worker.ts';

interface SpeedOptions {
  readonly name: CaseName;
  readonly model: string;
  readonly programs: Programs;
  readonly repeats: number;
  /** Threads of TRL; default: the fastest, which takes a step of each number to find. */
  readonly trlThreads?: number | undefined;
  readonly say: (line: string) => void;
}

export async function measureSpeed({ name, model, programs, repeats, trlThreads, say }: SpeedOptions) {
  const { prompt, answer, batch, model: shape } = cases[name];
  const choices = [...new Set([1, availableParallelism()])];
  // A first step of each side warms up; theirs takes one more for each number of threads.
  const steps = repeats + 1 + choices.length;
  const work = { model, vocabulary: shape.vocabulary, prompt, answer, batch, seed: 1, steps };
  const all = availableParallelism();
  const ours = await startWorker(programs.ours, work, all);
  const theirs = await startWorker(programs.theirs, work, all);
  try {
    await ours.step(all);
    await theirs.step(all);
    const threads = trlThreads ?? (await fastest(theirs, choices));
    say(`Case ${name}: TRL with ${String(threads)} threads`);
    const rounds: { ours: Step; theirs: Step }[] = [];
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      const mine = await ours.step(all);
      const other = await theirs.step(threads);
      say(`Case ${name}: ${mine.seconds.toFixed(2)} s, TRL ${other.seconds.toFixed(2)} s`);
      rounds.push({ ours: mine, theirs: other });
    }
    return {
      case: name,
      ...cases[name],
      repeats,
      trlThreads: threads,
      ours: summary(
        rounds.map((one) => one.ours),
        batch,
      ),
      theirs: summary(
        rounds.map((one) => one.theirs),
        batch,
      ),
      ratio: spread(rounds.map((one) => one.theirs.seconds / one.ours.seconds)),
      cpuRatio: spread(rounds.map((one) => one.theirs.cpu_seconds / one.ours.cpu_seconds)),
      generateRatio: median(rounds.map((one) => one.theirs.generate / one.ours.generate)),
      trainRatio: median(rounds.map((one) => one.theirs.train / (one.ours.train + one.ours.publish))),
    };
  } finally {
    await Promise.all([ours.close(), theirs.close()]);
  }
}

async function fastest(worker: Worker, choices: readonly number[]): Promise<number> {
  const found: { threads: number; seconds: number }[] = [];
  for (const threads of choices) found.push({ threads, seconds: (await worker.step(threads)).seconds });
  return found.toSorted((a, b) => a.seconds - b.seconds)[0]?.threads ?? 1;
}

function spread(ratios: readonly number[]) {
  return { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) };
}

function summary(steps: readonly Step[], batch: number) {
  return {
    samplesPerSecond: batch / median(steps.map((one) => one.seconds)),
    seconds: {
      step: median(steps.map((one) => one.seconds)),
      cpu: median(steps.map((one) => one.cpu_seconds)),
      generate: median(steps.map((one) => one.generate)),
      train: median(steps.map((one) => one.train)),
      publish: median(steps.map((one) => one.publish)),
    },
    peakMegabytes: Math.max(...steps.map((one) => one.peak_megabytes)),
  };
}
