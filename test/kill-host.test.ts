/** `kill -9` of the host at any stage: nothing of ours stays, the next start resumes, nothing is trained twice. */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { openSqliteStore } from '../src/index.ts';
import { startHost, until, type Line } from './hosts.ts';
import { alive, nothingLeft } from './processes.ts';
import { freshFolder } from './recording.ts';

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
    const host = startHost(folder, wanted, run);
    await until(host, fits);
    expect(
      (await alive(run)).length,
      `host and sidecar are alive before the kill in ${stage}`,
    ).toBeGreaterThanOrEqual(2);
    host.kill('SIGKILL');
    expect(await nothingLeft(run), `left alive after the kill in ${stage}`).toEqual([]);
  }
  const run = randomUUID();
  const lines = await until(startHost(folder, wanted, run), (one) => one.event === 'closed');
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
