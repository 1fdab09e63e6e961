/** Rollouts on bad tools, a server in a storm, and hangs: they end, they resume after kill -9, each counts once. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { z } from 'zod';
import { openSqliteStore } from '../src/index.ts';
import {
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectRequest,
  type DialectServer,
} from '../src/testing/openai-dialect-server.ts';
import { freshFolder } from './recording.ts';

const fixture = fileURLToPath(new URL('./fixtures/rollout-host.ts', import.meta.url));
const count = 60;
/** On three scenarios the server never answers: a twentieth, within the error budget of a tenth. */
const hangs = ['s7', 's27', 's47'];

const line = z.object({
  done: z.int().optional(),
  resumed: z.int().optional(),
  finished: z.array(z.tuple([z.string(), z.string(), z.string()])).optional(),
  stopped: z.string().nullish(),
  remaining: z.int().optional(),
  live: z
    .object({
      finished: z.int(),
      failed: z.int(),
      retries: z.int(),
      resumed: z.int(),
      reward: z.number().nullable(),
      components: z.record(z.string(), z.number()),
      spent: z.object({ tokens: z.int() }),
    })
    .optional(),
});
type Line = z.infer<typeof line>;

let server: DialectServer | undefined;
afterEach(async () => {
  await server?.close();
});

const scenarioOf = ({ body }: DialectRequest): string =>
  /"(s\d+)"/.exec(JSON.stringify(body.messages))?.[1] ?? '';

function answer(request: DialectRequest, index: number): DialectAnswer {
  // A storm: a third of a hundred requests in a row are refused.
  if (index % 100 >= 30 && index % 100 < 63) return { kind: 'status', status: 429 };
  if (hangs.includes(scenarioOf(request))) return { kind: 'hang', text: '' };
  const asked = request.body.messages.some((message) => message['role'] === 'tool');
  return asked
    ? { kind: 'text', text: 'done' }
    : { kind: 'tools', calls: [{ id: 'call', name: 'look', arguments: '{}' }] };
}

function start(folder: string, baseUrl: string, budget = ''): ChildProcess {
  const flags = ['--disable-warning=ExperimentalWarning', fixture, folder, baseUrl, String(count), budget];
  return spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function until(host: ChildProcess, fits: (one: Line) => boolean): Promise<Line> {
  if (host.stdout === null) throw new Error('The host has no output.');
  let last: Line = {};
  for await (const text of createInterface({ input: host.stdout })) {
    last = line.parse(JSON.parse(text));
    if (fits(last)) return last;
  }
  throw new Error(`The host ended early, after ${JSON.stringify(last)}.`);
}

const ended = (one: Line): boolean => one.finished !== undefined;

async function ledgerOf(folder: string) {
  const store = await openSqliteStore({ folder });
  const [any] = await store.find({ limit: 1 });
  const runId = any?.trajectory.groupId?.split('/').slice(0, -1).join('/') ?? '';
  const records = await store.rollouts(runId);
  await store.close();
  return records;
}

it('finishes within its error budget, resumes after kill -9, and counts every scenario once', async () => {
  server = await startOpenAIDialectServer(answer);
  const folder = await freshFolder();
  const first = start(folder, server.baseUrl);
  await until(first, (one) => (one.done ?? 0) >= 25);
  first.kill('SIGKILL');
  await new Promise((resolve) => first.once('close', resolve));
  const before = await ledgerOf(folder);
  expect(before.length, 'rollouts on disk before the kill').toBeGreaterThan(10);
  const requestsBefore = server.requests.length;

  const end = await until(start(folder, server.baseUrl), ended);
  expect(end.stopped).toBeNull();
  const { live, finished = [] } = end;
  expect(finished.map(([id]) => id)).toEqual(
    Array.from({ length: count }, (_, index) => `s${String(index)}`),
  );
  expect(finished.filter(([, status]) => status === 'missing').map(([id]) => id)).toEqual(hangs);
  expect(live).toMatchObject({ finished: count, failed: hangs.length, resumed: before.length, reward: 1 });
  expect(live?.retries).toBeGreaterThan(0);
  // Three tools of ten failed: that is data, and the runs went on.
  expect(live?.components['tool-success']).toBeCloseTo(0.7, 1);

  const done = new Set(before.map((one) => one.taskId.split('/')[0]));
  const askedAgain = server.requests.slice(requestsBefore).map(scenarioOf);
  expect(
    askedAgain.filter((id) => done.has(id)),
    'what was done is not done again',
  ).toEqual([]);

  const ledger = await ledgerOf(folder);
  expect(new Set(ledger.map((one) => one.taskId)).size).toBe(count);
  expect(ledger).toHaveLength(count);
  expect(new Set(ledger.map((one) => one.trajectoryId))).toEqual(new Set(finished.map(([, , id]) => id)));
  const kept = new Map(ledger.map((one) => [one.taskId, one.trajectoryId]));
  for (const one of before) expect(kept.get(one.taskId)).toBe(one.trajectoryId);

  const total = server.requests.length;
  const third = await until(start(folder, server.baseUrl), ended);
  expect(third.live).toMatchObject({ finished: count, resumed: count });
  expect(server.requests.length, 'a run that is done asks nothing').toBe(total);
});

it('stops at its budget of tokens and goes on with a larger one', async () => {
  server = await startOpenAIDialectServer((request, index) =>
    answer(request, index % 100 >= 30 && index % 100 < 63 ? 0 : index),
  );
  const folder = await freshFolder();
  const budget = 150;
  const stopped = await until(start(folder, server.baseUrl, String(budget)), ended);
  expect(stopped.stopped).toBe('budget');
  expect(stopped.remaining).toBeGreaterThan(5);
  expect(stopped.live?.spent.tokens).toBeGreaterThanOrEqual(budget);
  // What ran when the budget was reached, eight at most, was finished.
  const each = (stopped.live?.spent.tokens ?? 0) / (stopped.live?.finished ?? 1);
  expect(stopped.live?.spent.tokens).toBeLessThan(budget + 9 * each);
  const end = await until(start(folder, server.baseUrl, '1000000'), ended);
  expect(end).toMatchObject({ stopped: null, remaining: 0, live: { finished: count } });
  expect(end.live?.resumed).toBeGreaterThan(0);
});
