/**
 * `npm run bench:training [-- FILE]`: how fast the sidecar trains the tiny model on this machine; one JSON. Groups of 8
 * rows share their prompt, as rollouts do. Speed depends on the shape alone, so ids and logprobs are made up.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { localBackend, tinyModelFolder } from 'apprentice/backends/local';
import { aCall, aTrajectory } from 'apprentice/testing';
import type { TrainingGroup } from '../../src/backends/backend.ts';
import { fileArgument } from '../file-argument.ts';
import { median, round } from '../statistics.ts';

const file = fileArgument();
const groupSize = 8;
const repeats = 3;
const shapes = [
  { prompt: 64, completion: 32, rows: 64 },
  { prompt: 512, completion: 64, rows: 32 },
] as const;

type Shape = (typeof shapes)[number];

function madeUpGroups({ prompt, completion, rows }: Shape, job: number): TrainingGroup[] {
  const id = (seed: number) => 10 + ((seed * 7919 + job) % 600);
  return Array.from({ length: rows / groupSize }, (_, group) => ({
    groupId: `group-${String(group)}`,
    members: Array.from({ length: groupSize }, (_, member) => {
      const row = group * groupSize + member;
      const call = aCall({
        promptIds: Array.from({ length: prompt }, (_, place) => id(group * 1000 + place)),
        completionIds: Array.from({ length: completion }, (_, place) => id(row * 5000 + place)),
      });
      const advantage = row % 2 === 0 ? 1 : -1;
      return { trajectory: aTrajectory({ events: [call] }), reward: advantage, advantage };
    }),
  }));
}

const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
const backend = await localBackend().start({
  project: 'bench',
  name: 'bench',
  baseModel: tinyModelFolder(),
  folder,
  onProgress: ({ message }) => {
    process.stderr.write(`${message}\n`);
  },
});
try {
  const found = [];
  let step = 0;
  for (const shape of shapes) {
    const times: { samples: number; tokens: number; peak: number }[] = [];
    // The first job of a shape warms up and is left out.
    for (let repeat = 0; repeat <= repeats; repeat += 1) {
      step += 1;
      process.stderr.write(`${JSON.stringify(shape)} ${String(repeat)}/${String(repeats)}\n`);
      const events = backend.train({
        jobId: `bench-${String(step)}`,
        name: 'bench',
        step,
        parent: null,
        groups: madeUpGroups(shape, step),
      });
      for await (const event of events) {
        if (event.type !== 'ended' || repeat === 0) continue;
        const { metrics } = event;
        times.push({
          samples: metrics['samples_per_second'] ?? Number.NaN,
          tokens: metrics['tokens_per_second'] ?? Number.NaN,
          peak: metrics['peak_memory_bytes'] ?? Number.NaN,
        });
      }
    }
    found.push({
      ...shape,
      groupSize,
      samplesPerSecond: round(median(times.map((one) => one.samples))),
      tokensPerSecond: Math.round(median(times.map((one) => one.tokens))),
      peakMemoryMegabytes: Math.round(Math.max(...times.map((one) => one.peak)) / 1e6),
    });
  }
  const result = { cores: availableParallelism(), model: 'tiny-model', repeats, shapes: found };
  const text = `${JSON.stringify(result, null, 2)}\n`;
  if (file !== undefined) await writeFile(file, text);
  process.stdout.write(text);
} finally {
  await backend.close();
  await rm(folder, { recursive: true, force: true });
}
