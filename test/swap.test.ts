/** Swaps under load: nothing is dropped, and each answer comes wholly from the step that it asked for. */
import { cp, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { AdapterRef, RunningBackend } from '../src/backends/backend.ts';
import type { Apprentice } from '../src/index.ts';
import { AdapterRefusedError } from '../src/errors.ts';
import { trainingApprentice } from './sidecar.ts';
import { complete, expectSame, swapUnderLoad, trainSteps } from './swaps.ts';

const steps = 21;
let apprentice: Apprentice;
let backend: RunningBackend;
let folder: string;
let adapters: AdapterRef[] = [];

function adapter(step: number): AdapterRef {
  const found = adapters[step - 1];
  if (found === undefined) throw new Error(`Step ${String(step)} was not trained.`);
  return found;
}

beforeAll(async () => {
  ({ apprentice, folder } = await trainingApprentice());
  backend = await apprentice.backend();
  adapters = await trainSteps(backend, steps);
});
afterAll(() => apprentice.close());

describe('the local backend', () => {
  it('answers 16 streams at a time through 20 swaps without an error, each wholly from one step', async () => {
    expect(await swapUnderLoad(backend, adapters)).toBeGreaterThan(20);
  });

  it('refuses a corrupt, a foreign and a misnamed adapter, and goes on serving', async () => {
    const endpoint = await backend.endpoint('base');
    const before = await complete(endpoint, `tiny@${String(steps)}`, 'Say back: lamp', 0);
    const broken = join(folder, 'broken');
    await cp(adapter(1).location, broken, { recursive: true });
    const weights = await readFile(join(broken, 'adapter_model.safetensors'));
    weights[weights.length - 1] = (weights.at(-1) ?? 0) ^ 0xff;
    await writeFile(join(broken, 'adapter_model.safetensors'), weights);
    await expect(backend.publish({ ...adapter(1), location: broken })).rejects.toThrow(AdapterRefusedError);
    await expect(backend.publish({ ...adapter(1), step: 99 })).rejects.toThrow(/manifest says tiny@1/);
    await expect(
      backend.publish({ ...adapter(1), step: 98, location: join(folder, 'nothing') }),
    ).rejects.toThrow(/no adapter folder/);
    expectSame(await complete(endpoint, `tiny@${String(steps)}`, 'Say back: lamp', 0), before);
  });

  it('comes back after its process was killed, with the published steps', async () => {
    const before = await complete(
      await backend.endpoint('base'),
      `tiny@${String(steps)}`,
      'Say back: lamp',
      0,
    );
    const { pid } = z.object({ pid: z.int() }).parse(await sidecarOf(backend));
    process.kill(pid, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expectSame(
      await complete(await backend.endpoint('base'), `tiny@${String(steps)}`, 'Say back: lamp', 0),
      before,
    );
  });
});

/** The process that answers at the backend's endpoint, found by the port that it listens on. */
async function sidecarOf(running: RunningBackend): Promise<{ pid: number }> {
  const { baseUrl } = await running.endpoint('base');
  const port = new URL(baseUrl).port;
  const hex = Number(port).toString(16).toUpperCase().padStart(4, '0');
  const table = await readFile('/proc/net/tcp', 'utf8');
  const row = table.split('\n').find((line) => line.includes(`0100007F:${hex} 00000000:0000 0A`));
  const inode = row?.trim().split(/\s+/)[9] ?? '';
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      if (target === `socket:[${inode}]`) return { pid: Number(pid) };
    }
  }
  throw new Error(`No process listens on port ${port}.`);
}
