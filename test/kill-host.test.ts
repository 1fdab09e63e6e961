/** `kill -9` of the host at any stage: nothing of ours stays, the next start resumes, nothing is trained twice. */
import { createInterface } from 'node:readline';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { openSqliteStore } from '../src/index.ts';
import { alive, nothingLeft } from './processes.ts';
import { freshFolder } from './recording.ts';

const fixture = fileURLToPath(new URL('./fixtures/train-host.ts', import.meta.url));
const line = z.object({
  stage: z.string().optional(),
  step: z.int().nullish(),
  event: z.string().optional(),
});
type Line = z.infer<typeof line>;

function start(folder: string, steps: number, run: string): ChildProcess {
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', fixture, folder, String(steps)], {
    env: { ...process.env, APPRENTICE_TEST_RUN: run },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Reads the host's lines until one fits; gives all of them. */
async function until(host: ChildProcess, fits: (one: Line) => boolean): Promise<Line[]> {
  const seen: Line[] = [];
  if (host.stdout === null) throw new Error('The host has no output.');
  for await (const text of createInterface({ input: host.stdout })) {
    const one = line.parse(JSON.parse(text));
    seen.push(one);
    if (fits(one)) return seen;
  }
  throw new Error(`The host ended early, after ${JSON.stringify(seen.slice(-3))}.`);
}

it('survives kill -9 during rollout, training and swap', async () => {
  const folder = await freshFolder();
  const wanted = 4;
  const kills: readonly (readonly [string, (one: Line) => boolean])[] = [
    ['rollout', (one) => one.stage === 'rollout' && one.step === 1],
    ['training', (one) => one.stage === 'training' && one.step === 1],
    ['swap', (one) => one.stage === 'swap' && (one.step ?? 0) >= 2],
  ];
  for (const [stage, fits] of kills) {
    const run = randomUUID();
    const host = start(folder, wanted, run);
    await until(host, fits);
    expect(
      (await alive(run)).length,
      `host and sidecar are alive before the kill in ${stage}`,
    ).toBeGreaterThanOrEqual(2);
    host.kill('SIGKILL');
    expect(await nothingLeft(run), `left alive after the kill in ${stage}`).toEqual([]);
  }
  const run = randomUUID();
  const lines = await until(start(folder, wanted, run), (one) => one.event === 'closed');
  expect(lines.find((one) => one.event !== undefined)?.event).toBe('resumed');
  expect(await nothingLeft(run)).toEqual([]);

  const store = await openSqliteStore({ folder });
  const ledger = await store.steps('test', 'tiny');
  await store.close();
  expect(ledger.map((step) => [step.step, step.state])).toEqual(
    [1, 2, 3, 4].map((step) => [step, 'published']),
  );
  const trained = ledger.flatMap((step) => step.trajectoryIds);
  expect(new Set(trained).size).toBe(trained.length);
});
