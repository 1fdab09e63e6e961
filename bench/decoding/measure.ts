/** Tokens a second of all subjects at one number of streams, in turns. */
import { availableParallelism } from 'node:os';
import { median } from '../statistics.ts';
import type { Decoded, Subject } from './subjects.ts';

interface MeasureOptions {
  readonly subjects: readonly Subject[];
  readonly streams: number;
  readonly prompt: number;
  readonly new: number;
  readonly repeats: number;
  readonly say: (line: string) => void;
}

/** Whom the engine has to beat. */
const rivals = ['generate', 'generate_batch'];

export async function measure({ subjects, streams, repeats, say, ...lengths }: MeasureOptions) {
  const round = { ...lengths, streams };
  // The first call of each warms up; whoever can be told takes the number of threads that is fastest here.
  const threads = new Map<string, number>();
  for (const subject of subjects)
    threads.set(subject.name, await fastest(subject, { ...round, seed: 1_000_000 + streams }));
  const found = new Map<string, Decoded[]>(subjects.map(({ name }) => [name, []]));
  for (let repeat = 1; repeat <= repeats; repeat += 1)
    for (const subject of subjects) {
      const decoded = await subject.decode(
        { ...round, seed: repeat * 1000 + streams },
        threads.get(subject.name) ?? 1,
      );
      say(`${String(streams)} streams, ${subject.name}: ${speed(decoded).toFixed(1)} tokens a second`);
      found.get(subject.name)?.push(decoded);
    }
  return {
    streams,
    ratio: ratio(found, ({ seconds }) => seconds),
    cpuRatio: ratio(found, ({ cpuSeconds }) => cpuSeconds ?? Infinity),
    subjects: subjects.map(({ name, threaded }) => {
      const speeds = (found.get(name) ?? []).map(speed);
      return {
        name,
        tokensPerSecond: median(speeds),
        lowest: Math.min(...speeds),
        highest: Math.max(...speeds),
        threads: threaded ? threads.get(name) : 'its own choice',
        peakMegabytes: found.get(name)?.at(-1)?.peakMegabytes,
      };
    }),
  };
}

/** What the better rival takes over what the engine takes, round by round. */
function ratio(found: ReadonlyMap<string, readonly Decoded[]>, cost: (decoded: Decoded) => number) {
  const costs = (name: string): number[] => (found.get(name) ?? []).map(cost);
  const ratios = costs('apprentice').map(
    (own, repeat) => Math.min(...rivals.map((name) => costs(name)[repeat] ?? Infinity)) / own,
  );
  return { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) };
}

async function fastest(subject: Subject, round: Parameters<Subject['decode']>[0]): Promise<number> {
  const all = availableParallelism();
  // Once without looking: whatever is made at the first call is made now.
  await subject.decode({ ...round, seed: round.seed + 1, new: Math.min(round.new, 16) }, all);
  if (!subject.threaded || all === 1) return all;
  const seconds: { threads: number; seconds: number }[] = [];
  for (const threads of [1, all]) {
    const short = { ...round, seed: round.seed + 2 + threads, new: Math.min(round.new, 16) };
    seconds.push({ threads, seconds: (await subject.decode(short, threads)).seconds });
  }
  return seconds.toSorted((a, b) => a.seconds - b.seconds)[0]?.threads ?? 1;
}

function speed({ tokens, seconds }: Decoded): number {
  return tokens / seconds;
}
