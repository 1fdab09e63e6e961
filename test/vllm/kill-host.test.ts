/** `kill -9` of a host that trains on a vLLM: nothing of it stays, and the next start goes on. */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { openSqliteStore } from '../../src/index.ts';
import { startHost, until } from '../hosts.ts';
import { alive, nothingLeft } from '../processes.ts';
import { freshFolder } from '../recording.ts';

it('leaves no process behind, killed or closed, and trains nothing twice', async () => {
  const folder = await freshFolder();
  const killed = randomUUID();
  const host = startHost(folder, 2, killed, 'vllm');
  await until(host, (one) => one.stage === 'training' && one.step === 1);
  // The host, its sidecar, the guard, vLLM's server and its engine.
  expect((await alive(killed)).length).toBeGreaterThanOrEqual(5);
  host.kill('SIGKILL');
  expect(await nothingLeft(killed)).toEqual([]);

  const closed = randomUUID();
  await until(startHost(folder, 2, closed, 'vllm'), (one) => one.event === 'closed');
  expect(await nothingLeft(closed)).toEqual([]);

  const store = await openSqliteStore({ folder });
  const ledger = await store.steps('test', 'tiny');
  await store.close();
  expect(ledger.map((step) => [step.step, step.state])).toEqual([1, 2].map((step) => [step, 'published']));
  const trained = ledger.flatMap((step) => step.trajectoryIds);
  expect(new Set(trained).size).toBe(trained.length);
});
