/**
 * The sidecar killed at each mark of its work (`marks.py`), once: serving comes back with a published step, nothing is
 * trained twice, no process stays. One table for all that serves; it is in docs/faults.md.
 */
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { z } from 'zod';
import type { Apprentice } from '../src/index.ts';
import type { AdapterRef, Endpoint, RunningBackend } from '../src/backends/backend.ts';
import { ensureEnvironment, type ServingEngineName } from '../src/backends/local/index.ts';
import { sendToPolicy } from '../src/capture/wire/transport.ts';
import { nothingLeft } from './processes.ts';
import { freshFolder } from './recording.ts';
import { trainingApprentice } from './sidecar.ts';
import { wordTask } from './word-task.ts';

/** All marks, by runs that come past each of them. */
export const faultTable = [
  ['model-loaded', 'job-accepted', 'publish-read'],
  ['answering', 'gradient-step', 'publish-loaded'],
  ['checkpoint-written', 'publish-verified', 'retiring'],
  ['checkpoint-renamed', 'job-ended', 'published'],
] as const;

const fixture = fileURLToPath(new URL('./fixtures/killable_sidecar.py', import.meta.url));

/** An interpreter that runs the sidecar with the observer, and dies at `marks`, once at each. */
async function killable(folder: string, marks: readonly string[]): Promise<string> {
  const { python } = await ensureEnvironment({ dev: true });
  await mkdir(folder);
  for (const mark of marks) await writeFile(join(folder, mark), '');
  const wrapper = join(folder, 'python');
  // Called as `python -m apprentice_sidecar …`.
  await writeFile(wrapper, `#!/bin/sh\nshift 2\nexec '${python}' '${fixture}' '${folder}' "$@"\n`);
  await chmod(wrapper, 0o700);
  return wrapper;
}

/** A call as a framework makes it: sent again where the sidecar died under it. */
async function call(
  backend: RunningBackend,
  policy: AdapterRef,
): Promise<{ endpoint: Endpoint; status: number }> {
  for (let tries = 1; ; tries += 1) {
    const endpoint = await backend.endpoint(policy);
    const body = { model: endpoint.model, messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 };
    try {
      return { endpoint, status: (await sendToPolicy(endpoint, body, undefined)).status };
    } catch (error) {
      if (tries === 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

const manifest = z.object({ name: z.string(), step: z.int(), job_id: z.string(), digest: z.string() });
const models = z.object({ data: z.array(z.object({ id: z.string(), root: z.string() })) });

/** A run of two steps, in which the sidecar dies at `marks`. */
export async function surviveKills(marks: readonly string[], serving: ServingEngineName): Promise<void> {
  const run = randomUUID();
  process.env['APPRENTICE_TEST_RUN'] = run;
  const folder = await freshFolder();
  const killed = join(folder, 'marks');
  const { apprentice } = await trainingApprentice(folder, await killable(killed, marks), serving);
  try {
    await trainPublishRetire(apprentice, killed, marks);
  } finally {
    await apprentice.close();
    delete process.env['APPRENTICE_TEST_RUN'];
  }
  expect(await nothingLeft(run)).toEqual([]);
}

async function trainPublishRetire(
  apprentice: Apprentice,
  killed: string,
  marks: readonly string[],
): Promise<void> {
  const told: string[] = [];
  for await (const event of apprentice.train({ ...wordTask(apprentice, 2), groupsPerStep: 4, groupSize: 4 }))
    told.push(event.type);
  expect(told.length).toBeGreaterThan(0);

  const backend = await apprentice.backend();
  const adapters = await backend.adapters();
  const [first, second] = adapters;
  if (first === undefined || second === undefined) throw new Error('Two steps were to be trained.');
  await backend.publish(first);
  await backend.retire(first);
  const { endpoint, status } = await call(backend, second);
  expect(status, 'serving is up').toBe(200);

  const listed = await fetch(`${endpoint.baseUrl}/models`, {
    headers: { authorization: `Bearer ${endpoint.apiKey}` },
  });
  const served = models.parse(await listed.json()).data.filter((one) => one.id !== 'base');
  expect(served.map((one) => one.id)).toEqual(['tiny@2']);
  const ledger = await (await apprentice.store()).steps('test', 'tiny');
  const made = await Promise.all(
    adapters.map(async ({ location }) =>
      manifest.parse(JSON.parse(await readFile(join(location, 'manifest.json'), 'utf8'))),
    ),
  );
  expect(served[0]?.root).toBe(second.location);
  expect(ledger.map((step) => [step.step, step.state])).toEqual([
    [1, 'published'],
    [2, 'published'],
  ]);
  expect(made.map((one) => one.digest)).toEqual(adapters.map((one) => one.version));
  const trained = ledger.flatMap((step) => step.trajectoryIds);
  expect(new Set(trained).size, 'nothing is trained twice').toBe(trained.length);
  expect(new Set(made.map((one) => one.job_id)).size).toBe(2);
  const log = (await readFile(join(killed, 'log'), 'utf8')).split('\n');
  expect(log.filter((mark) => mark === 'checkpoint-renamed')).toHaveLength(2);
  const done = (await readdir(killed)).filter((name) => name.endsWith('.done')).sort();
  expect(done, 'each mark was reached').toEqual(marks.map((mark) => `${mark}.done`).sort());
}
