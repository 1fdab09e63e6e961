/** The stand-in as a process of its own, as a CI starts it. */
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { serverlessBackend } from '../../src/backends/serverless/index.ts';
import { freshFolder } from '../recording.ts';
import { aJob, endOf } from './setup.ts';

const program = fileURLToPath(new URL('../../src/testing/wandb-server/main.ts', import.meta.url));
const ready = z.object({ trainingUrl: z.string(), wandbUrl: z.string(), baseModels: z.array(z.string()) });

async function start(folder: string) {
  const given = ['--scripted', '--folder', folder, '--api-key', 'ci-key', '--entity', 'ci'];
  const child = spawn(process.execPath, [program, ...given], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await once(lines, 'line')) as [string];
  const urls = ready.parse(JSON.parse(line));
  return {
    urls,
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
  };
}

it('says where it is, trains, keeps what it has over a restart, and ends when it is told to', async () => {
  const [state, folder] = [await freshFolder(), await freshFolder()];
  const first = await start(state);
  const connect = ({ trainingUrl, wandbUrl, baseModels }: z.infer<typeof ready>) =>
    serverlessBackend({ apiKey: 'ci-key', trainingUrl, wandbUrl, pollMs: 5 }).start({
      project: 'shop',
      name: 'desk',
      baseModel: baseModels[0] ?? '',
      folder,
    });
  const made = await endOf((await connect(first.urls)).train(aJob(1)));
  expect(made.location).toBe('wandb-artifact:///ci/shop/desk:step1');
  expect(await first.stop()).toBe(0);
  const second = await start(state);
  expect(await (await connect(second.urls)).adapters()).toEqual([made]);
  expect(await second.stop()).toBe(0);
});
