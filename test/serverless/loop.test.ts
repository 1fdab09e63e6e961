/** The step loop on the serverless backend: it resumes at the service's step, and trains nothing twice. */
import { generateText } from 'ai7';
import OpenAI from 'openai7';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { wrapModel } from '../../src/adapters/ai-sdk/index.ts';
import { wrapOpenAI } from '../../src/adapters/openai/index.ts';
import { serverlessBackend } from '../../src/backends/serverless/index.ts';
import { InvalidOptionError, ServiceRequestError } from '../../src/errors.ts';
import { createApprentice, type Apprentice, type TrainEvent, type TrainOptions } from '../../src/index.ts';
import { codeReward } from '../../src/rewards/index.ts';
import { freshFolder } from '../recording.ts';
import { neverAsked } from '../sidecar.ts';
import { key, setUp, type Setup } from './setup.ts';

interface Task {
  readonly id: string;
}

let setup: Setup;
let opened: Apprentice[];
beforeEach(async () => {
  setup = await setUp();
  opened = [];
});
afterEach(async () => {
  for (const apprentice of opened) await apprentice.close();
  await setup.close();
});

function open(folder: string): Apprentice {
  const { trainingUrl, wandbUrl } = setup.server;
  const timing = { pollMs: 5, retryDelayMs: 1, checkpointTimeoutMs: 200, stallTimeoutMs: 300 };
  const apprentice = createApprentice({
    project: 'shop',
    name: 'desk',
    baseModel: 'scripted/base',
    backend: serverlessBackend({ apiKey: key, trainingUrl, wandbUrl, ...timing }),
    folder,
  });
  opened.push(apprentice);
  return apprentice;
}

async function train(
  apprentice: Apprentice,
  steps: number,
  more: Partial<TrainOptions<Task, number>> = {},
): Promise<TrainEvent[]> {
  const model = wrapModel(neverAsked, apprentice) as never;
  const events: TrainEvent[] = [];
  const training = apprentice.train<Task, number>({
    scenarios: [{ id: 'a' }, { id: 'b' }],
    rollout: async ({ id }, { attempt, signal }) => {
      await generateText({ model, prompt: id, abortSignal: signal });
      return attempt % 2;
    },
    rewards: [codeReward('odd', ({ result }) => result)],
    steps,
    groupsPerStep: 2,
    groupSize: 2,
    ...more,
  });
  for await (const event of training) events.push(event);
  return events;
}

const steps = (events: readonly TrainEvent[]): number[] =>
  events.flatMap((event) => (event.type === 'step' ? [event.step] : []));

it('trains steps on exactly the sampled tokens, and goes on where it was left', async () => {
  const folder = await freshFolder();
  const events = await train(open(folder), 2);
  expect(steps(events)).toEqual([1, 2]);
  const [first] = events;
  expect(first?.type === 'step' && first).toMatchObject({
    trainedTokens: 8,
    mismatchedTokens: 0,
    canary: { against: 'base' },
    adapter: { location: 'wandb-artifact:///stand-in/shop/desk:step1' },
    logprobGap: null,
  });
  const asked = setup.server.requests
    .filter((one) => one.path.endsWith('/chat/completions'))
    .map((one) => (JSON.parse(one.body) as { model: string }).model);
  expect(new Set(asked.map((name) => name.split(':').at(-1)))).toEqual(new Set(['step0', 'step1', 'step2']));
  const again = await train(open(folder), 3);
  expect(again[0]).toEqual({ type: 'resumed', step: 2, redone: false });
  expect(steps(again)).toEqual([3]);
});

it('trains an agent on the openai package, plain and streamed, on the names of the service', async () => {
  const apprentice = open(await freshFolder());
  const client = new OpenAI({ baseURL: 'http://127.0.0.1:9/v1', apiKey: 'none', maxRetries: 0 });
  wrapOpenAI(client, apprentice);
  const events = await train(apprentice, 2, {
    rollout: async ({ id }, { attempt, signal }) => {
      const request = { model: 'gpt-5-mini', messages: [{ role: 'user' as const, content: id }] };
      if (attempt % 2 === 0) await client.chat.completions.create(request, { signal });
      else {
        const stream = await client.chat.completions.create({ ...request, stream: true }, { signal });
        for await (const chunk of stream) expect(chunk.object).toBe('chat.completion.chunk');
      }
      return attempt % 2;
    },
  });
  expect(steps(events)).toEqual([1, 2]);
  for (const event of events)
    expect(event).toMatchObject({ trainedTokens: 8, mismatchedTokens: 0, skipped: {} });
});

it('takes over the steps of another host, whose store it does not have', async () => {
  await train(open(await freshFolder()), 2);
  const events = await train(open(await freshFolder()), 3);
  expect(events[0]).toEqual({ type: 'resumed', step: 2, redone: false });
  expect(steps(events)).toEqual([3]);
});

it('redoes a step whose job may have been accepted, on the same trajectories, without training them twice', async () => {
  const folder = await freshFolder();
  setup.server.fail({ method: 'POST', path: '/preview/training-jobs', fault: { kind: 'drop-after' } });
  await expect(train(open(folder), 2)).rejects.toThrow(ServiceRequestError);
  await setup.server.settled();
  const apprentice = open(folder);
  const events = await train(apprentice, 2);
  expect(events[0]).toEqual({ type: 'resumed', step: 1, redone: true });
  expect(setup.engine.jobs.map((job) => job.step)).toEqual([1, 2]);
  const ledger = await (await apprentice.store()).steps('shop', 'desk');
  expect(ledger.map((one) => [one.step, one.state])).toEqual([
    [1, 'published'],
    [2, 'published'],
  ]);
  const trained = ledger.flatMap((one) => one.trajectoryIds);
  expect(new Set(trained).size).toBe(trained.length);
});

it('says what the service said where rollouts are refused', async () => {
  const apprentice = open(await freshFolder());
  setup.server.fail({ path: '/chat', fault: { kind: 'rate-limit', retryAfterSeconds: 0 }, times: 99 });
  const limits = { retry: { delayMs: 1 } };
  await expect(train(apprentice, 1, { limits })).rejects.toThrow(/Concurrency limit reached for requests/);
});

it('refuses what the service does not take before anything runs', async () => {
  const apprentice = open(await freshFolder());
  for (const more of [
    { lora: { rank: 8 } },
    { optimizer: { gradientSteps: 4 } },
    { limits: { concurrency: 5000 } },
  ])
    await expect(train(apprentice, 1, more)).rejects.toThrow(InvalidOptionError);
  expect(setup.server.requests).toEqual([]);
});
