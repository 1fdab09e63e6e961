/** The key goes to the service and nowhere else: not into errors, logs, records, files or what is printed. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { serverlessBackend } from '../../src/backends/serverless/index.ts';
import { aJob, collect, endOf, key, setUp, type Setup } from './setup.ts';

let setup: Setup;
beforeEach(async () => {
  setup = await setUp();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await setup.close();
});

const forms = [key, Buffer.from(`api:${key}`).toString('base64')];

/** Everything that can be seen of a value: printed, as JSON, with causes and stacks. */
function seen(value: unknown): string {
  const options = { depth: 20, showHidden: true, getters: true } as const;
  const parts = [inspect(value, options), String(value)];
  for (let error = value; error instanceof Error; error = error.cause)
    parts.push(error.message, error.stack ?? '');
  try {
    parts.push(JSON.stringify(value));
  } catch {
    // circular: printed above
  }
  return parts.join('\n');
}

function expectNoKey(text: string): void {
  for (const form of forms) expect(text).not.toContain(form);
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
}

it('is in no error, also where the service sends it back', async () => {
  const running = await setup.start();
  const failures = [
    () => setup.start(),
    () => running.adapters(),
    () => collect(running.train(aJob(1))),
    () => running.log({ loss: 1 }, 1),
  ];
  for (const fault of [
    { kind: 'echo-headers' },
    { kind: 'html-524' },
    { kind: 'drop-before' },
    { kind: 'status', status: 401, detail: `Invalid key ${key}` },
    { kind: 'status', status: 422, detail: [{ loc: ['header', key], msg: key, type: 'x' }] },
  ] as const) {
    for (const fail of failures) {
      setup.server.fail({ path: '/', fault, times: 5 });
      const error: unknown = await fail().then(
        () => undefined,
        (caught: unknown) => caught,
      );
      expect(error).toBeInstanceOf(Error);
      expectNoKey(seen(error));
      setup.server.clearFaults();
    }
  }
});

it('is in nothing that is printed, warned or kept', async () => {
  const printed: string[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      printed.push(String(chunk));
      return true;
    });
  }
  vi.spyOn(process, 'emitWarning').mockImplementation((warning) => {
    printed.push(String(warning));
  });
  const running = await setup.start();
  const step = await endOf(running.train(aJob(1)));
  await running.publish(step);
  setup.server.fail({ path: '/graphql', fault: { kind: 'echo-headers' }, times: 99 });
  await endOf(running.train(aJob(2, step)));
  setup.server.clearFaults();
  await running.download(1, join(setup.folder, 'weights'));
  const endpoint = await running.endpoint(step);
  expect(endpoint.apiKey).toBe(key);
  vi.restoreAllMocks();
  expect(printed.join('')).toContain('could not be sent to W&B');
  expectNoKey(printed.join(''));
  for (const value of [running, endpoint, setup.server.run('shop', 'desk')]) {
    expectNoKey(inspect(value, { depth: 20 }));
    expectNoKey(JSON.stringify(value));
  }
  const files = await filesBelow(setup.folder);
  expect(files.length).toBeGreaterThan(0);
  for (const file of files) expectNoKey(await readFile(file, 'utf8'));
});

it('is taken from WANDB_API_KEY, and asked for where there is none', () => {
  vi.stubEnv('WANDB_API_KEY', '');
  expect(() => serverlessBackend()).toThrow(/"serverlessBackend.apiKey".*WANDB_API_KEY/);
  vi.stubEnv('WANDB_API_KEY', key);
  expect(serverlessBackend().kind).toBe('serverless');
});

it('is not shown where it cannot be one', () => {
  const broken = `${key}\n`;
  try {
    serverlessBackend({ apiKey: broken });
    expect.unreachable();
  } catch (error) {
    expectNoKey(seen(error));
  }
  expect(() => serverlessBackend({ apiKey: 7 as unknown as string })).toThrow(/\(hidden\)/);
});

it('is sent to the training API as bearer, to W&B as password, and not at all to signed URLs', async () => {
  const running = await setup.start();
  const step = await endOf(running.train(aJob(1)));
  await running.download(step.step, join(setup.folder, 'weights'));
  const sent = (part: string) =>
    new Set(
      setup.server.requests.filter((one) => one.path.includes(part)).map((one) => one.headers.authorization),
    );
  expect(sent('/v1/')).toEqual(new Set([`Bearer ${key}`]));
  expect(sent('/graphql')).toEqual(new Set([`Basic ${forms[1] ?? ''}`]));
  expect(sent('/signed/')).toEqual(new Set([undefined]));
});
