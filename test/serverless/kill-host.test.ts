/** `kill -9` of the host while the service trains: the next start follows the same job, and nothing is trained twice. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { openSqliteStore } from '../../src/index.ts';
import { freshFolder } from '../recording.ts';
import { key, setUp } from './setup.ts';

const fixture = fileURLToPath(new URL('../fixtures/serverless-host.ts', import.meta.url));
const line = z.object({
  stage: z.string().optional(),
  step: z.int().nullish(),
  event: z.string().optional(),
});

it('survives kill -9 while a job is under way, and follows it by its id', async () => {
  const setup = await setUp();
  const { server, engine } = setup;
  // Long enough to be killed in.
  const train = engine.train.bind(engine);
  engine.train = async (job) => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    return train(job);
  };
  const folder = await freshFolder();
  const start = () =>
    spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', fixture, folder, server.trainingUrl, server.wandbUrl],
      { env: { ...process.env, WANDB_API_KEY: key }, stdio: ['ignore', 'pipe', 'inherit'] },
    );
  try {
    const first = start();
    const exited = once(first, 'exit');
    for await (const text of createInterface({ input: first.stdout }))
      if (line.parse(JSON.parse(text)).stage === 'training') first.kill('SIGKILL');
    await exited;
    expect(first.signalCode).toBe('SIGKILL');
    expect(setup.count('POST', '/training-jobs')).toBe(1);

    const events: (string | undefined)[] = [];
    for await (const text of createInterface({ input: start().stdout }))
      events.push(line.parse(JSON.parse(text)).event);
    expect(events.filter((event) => event !== undefined)).toEqual(['resumed', 'step', 'closed']);
    expect([setup.count('POST', '/training-jobs'), engine.jobs.map((job) => job.step)]).toEqual([2, [1, 2]]);
  } finally {
    await setup.close();
  }
  const store = await openSqliteStore({ folder });
  const ledger = await store.steps('shop', 'desk');
  await store.close();
  expect(ledger.map((one) => [one.step, one.state])).toEqual([
    [1, 'published'],
    [2, 'published'],
  ]);
  const trained = ledger.flatMap((one) => one.trajectoryIds);
  expect(new Set(trained).size).toBe(trained.length);
});
