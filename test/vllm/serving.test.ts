/** Serving 'vllm' on a real vLLM: what is recorded, what swaps and training do to it, and what its death does. */
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai7';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { wrapModel } from '../../src/adapters/ai-sdk/index.ts';
import type {
  AdapterRef,
  Endpoint,
  PolicyTarget,
  TrainingGroup,
  TrainingJob,
} from '../../src/backends/backend.ts';
import {
  ensureEnvironment,
  localBackend,
  tinyModelFolder,
  type RunningLocalBackend,
} from '../../src/backends/local/index.ts';
import { createApprentice, type Apprentice, type ModelCall } from '../../src/index.ts';
import { aCall, aTrajectory, memoryHost, type MemoryHost } from '../../src/testing/index.ts';
import { freshFolder } from '../recording.ts';
import { neverAsked } from '../sidecar.ts';
import { complete, expectSame, post, stream, swapUnderLoad, trainSteps } from '../swaps.ts';
import { wordTask } from '../word-task.ts';
import { servingProcess } from './process.ts';

const steps = 21;
const live = { name: 'tiny', step: steps };
let apprentice: Apprentice;
let backend: RunningLocalBackend;
let adapters: readonly AdapterRef[];
beforeAll(async () => {
  const { python } = await ensureEnvironment({ dev: true });
  const local = localBackend({ environment: python, serving: 'vllm' });
  apprentice = createApprentice({
    project: 'test',
    name: 'words',
    baseModel: tinyModelFolder(),
    folder: await freshFolder(),
    backend: { ...local, start: async (context) => (backend = await local.start(context)) },
  });
  await apprentice.backend();
});
afterAll(() => apprentice.close());

/** What went over the wire to the served model. */
interface Exchange {
  readonly request: { readonly messages: readonly object[]; readonly tools?: readonly object[] };
  readonly answer: string;
}

/** A host whose calls go to `policy`, and what it sends and gets. */
function policyHost(policy: PolicyTarget): { host: MemoryHost; exchanges: Exchange[] } {
  const exchanges: Exchange[] = [];
  const watched: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const copy = response.clone();
    const body = typeof init?.body === 'string' ? init.body : '';
    exchanges.push({ request: JSON.parse(body) as Exchange['request'], answer: await copy.text() });
    return response;
  };
  const host = memoryHost({
    choose: () => ({
      kind: 'policy',
      policy: policy === 'base' ? 'base' : `${policy.name}@${String(policy.step)}`,
      step: policy === 'base' ? 0 : policy.step,
      propensity: 1,
      onFailure: 'throw',
      endpoint: async (signal) => ({ ...(await backend.endpoint(policy, signal)), fetch: watched }),
    }),
  });
  return { host, exchanges };
}

const said = z.object({
  prompt_token_ids: z.array(z.int()).nullish(),
  choices: z.array(z.object({ token_ids: z.array(z.int()).nullish() })),
});

/** The ids that the served model told, of a plain answer or of a stream. */
function idsOf({ answer }: Exchange): { prompt: number[]; completion: number[] } {
  const texts = answer.startsWith('data:')
    ? answer
        .split('\n\n')
        .filter((line) => line.startsWith('data: {'))
        .map((line) => line.slice('data: '.length))
    : [answer];
  const parts = texts.map((text) => said.parse(JSON.parse(text)));
  return {
    prompt: parts.flatMap((part) => part.prompt_token_ids ?? []),
    completion: parts.flatMap((part) => part.choices.flatMap((choice) => choice.token_ids ?? [])),
  };
}

async function tokenize(endpoint: Endpoint, { messages, tools }: Exchange['request']): Promise<number[]> {
  const response = await fetch(endpoint.baseUrl.replace(/v1$/, 'tokenize'), {
    method: 'POST',
    headers: { authorization: `Bearer ${endpoint.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ messages, tools: tools ?? null, add_generation_prompt: true }),
  });
  return z.object({ tokens: z.array(z.int()) }).parse(await response.json()).tokens;
}

function expectExact(call: ModelCall | undefined, exchange: Exchange | undefined): void {
  if (call === undefined || exchange === undefined) throw new Error('No call was made.');
  const { prompt, completion } = idsOf(exchange);
  expect(prompt.length).toBeGreaterThan(0);
  expect(completion.length).toBeGreaterThan(0);
  expect(call.tokens).toMatchObject({ promptIds: prompt, completionIds: completion });
  expect(call.tokens?.logprobs).toHaveLength(completion.length);
  for (const logprob of call.tokens?.logprobs ?? [])
    expect(logprob !== null && Number.isFinite(logprob) && logprob <= 0).toBe(true);
  expect(call.response.usage).toEqual({ inputTokens: prompt.length, outputTokens: completion.length });
  expect(call.trainability).toEqual({ trainable: true });
}

const prompt = 'respond with yes, no or maybe';
const lookUp = tool({
  description: 'Use it.',
  inputSchema: jsonSchema({ type: 'object', properties: { order: { type: 'string' } }, required: ['order'] }),
  execute: () => ({ error: 'unknown order' }),
});

describe('capture', () => {
  let host: MemoryHost;
  let exchanges: Exchange[];
  beforeEach(() => {
    ({ host, exchanges } = policyHost('base'));
  });
  const model = (): never => wrapModel(neverAsked, host) as never;

  it('of generateText is token-exact', async () => {
    await host.recorder.run({}, () => generateText({ model: model(), prompt, maxOutputTokens: 8 }));
    expectExact(host.calls()[0], exchanges[0]);
    const [exchange] = exchanges;
    if (exchange === undefined) throw new Error('No call was made.');
    expect(await tokenize(await backend.endpoint('base'), exchange.request)).toEqual(idsOf(exchange).prompt);
  });

  it('of streamText is token-exact, and the text comes as it is said', async () => {
    const text = await host.recorder.run({}, async () => {
      const deltas: string[] = [];
      for await (const delta of streamText({ model: model(), prompt, maxOutputTokens: 8 }).textStream)
        deltas.push(delta);
      return deltas.join('');
    });
    expectExact(host.calls()[0], exchanges[0]);
    expect(host.calls()[0]?.response).toMatchObject({ message: { content: text } });
  });

  it('of tool calls is token-exact, and the next prompt goes on from the last answer', async () => {
    await host.recorder.run({}, () =>
      generateText({
        model: model(),
        prompt: 'Where is order A17?',
        tools: { look_up_order: lookUp },
        toolChoice: 'required',
        stopWhen: stepCountIs(2),
        maxOutputTokens: 64,
      }),
    );
    const [first, second] = host.calls();
    expectExact(first, exchanges[0]);
    expectExact(second, exchanges[1]);
    const soFar = [...(first?.tokens?.promptIds ?? []), ...(first?.tokens?.completionIds ?? [])];
    expect(second?.tokens?.promptIds.slice(0, soFar.length)).toEqual(soFar);
  });
});

describe('the dialect', () => {
  it('gives as many answers as are asked for, each with its own tokens', async () => {
    const endpoint = await backend.endpoint('base');
    const response = await post(endpoint, {
      model: 'base',
      messages: [{ role: 'user', content: prompt }],
      n: 3,
      max_tokens: 8,
    });
    const choice = z.object({
      index: z.int(),
      token_ids: z.array(z.int()).min(1),
      logprobs: z.object({ content: z.array(z.object({ logprob: z.number() })) }),
    });
    const { choices } = z.object({ choices: z.array(choice) }).parse(await response.json());
    expect(choices.map((one) => one.index).sort()).toEqual([0, 1, 2]);
    for (const one of choices) expect(one.logprobs.content).toHaveLength(one.token_ids.length);
  });

  it('ends a request that its client abandons', async () => {
    const endpoint = await backend.endpoint('base');
    const abort = new AbortController();
    const response = await fetch(`${endpoint.baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${endpoint.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'base',
        messages: [{ role: 'user', content: prompt }],
        stream: true,
        max_tokens: 900,
      }),
      signal: abort.signal,
    });
    await response.body?.getReader().read();
    abort.abort();
    await expect.poll(() => running(endpoint), { timeout: 5000 }).toBe(0);
    expect((await complete(endpoint, 'base', prompt, 0)).answer.length).toBeGreaterThan(0);
  });

  it('refuses a seed, which this engine would not survive, by name', async () => {
    const endpoint = await backend.endpoint('base');
    const seeded = { model: 'base', messages: [{ role: 'user', content: prompt }], seed: 7 };
    await expect(post(endpoint, seeded)).rejects.toThrow(/HTTP 400.*seed cannot be honoured/);
  });
});

async function running(endpoint: Endpoint): Promise<number> {
  const response = await fetch(endpoint.baseUrl.replace(/v1$/, 'health'), {
    headers: { authorization: `Bearer ${endpoint.apiKey}` },
  });
  const health = z.object({ stats: z.object({ requests_running: z.number() }) });
  return health.parse(await response.json()).stats.requests_running;
}

describe('swaps and training', () => {
  it('answers 16 streams at a time through 20 swaps without an error, each wholly from one step', async () => {
    adapters = await trainSteps(backend, steps);
    expect(await swapUnderLoad(backend, adapters)).toBeGreaterThan(20);
  });

  it('answers a request that comes while a step is trained, when it is trained', async () => {
    const endpoint = await backend.endpoint(live);
    const before = await complete(endpoint, 'tiny@21', prompt, 0);
    const order: string[] = [];
    let waiting: Promise<void> | undefined;
    for await (const event of backend.train(await longJob(endpoint))) {
      order.push(event.type);
      if (event.type !== 'started') continue;
      waiting = stream(endpoint, 'tiny@21', prompt).then(({ ids }) => {
        order.push('answered');
        expect(ids).toEqual(before.answer);
      });
    }
    await waiting;
    expect(order.filter((one) => one === 'answered')).toHaveLength(1);
    expect(order.indexOf('answered')).toBeGreaterThan(order.lastIndexOf('gradient-step'));
  });

  it('trains on exactly the tokens that vLLM sampled, with the logprobs that it gave', async () => {
    let told = 0;
    for await (const event of apprentice.train({ ...wordTask(apprentice, 1), groupsPerStep: 4 })) {
      if (event.type !== 'step') continue;
      told += event.trainedTokens;
      expect(event.mismatchedTokens).toBe(0);
      expect(event.logprobGap?.mean).toBeLessThan(1e-4);
      expect(event.canary.against === 'trainer' && event.canary.maxGap).toBeLessThan(1e-3);
      expect(event.canary.baseGap).toBeGreaterThan(0);
    }
    expect(told).toBeGreaterThan(0);
  });
});

describe('a vLLM that dies', () => {
  it.each([
    ['killed', kill],
    ['ended by a request that it does not survive', poison],
  ])('%s is started again with its steps', async (_, end) => {
    const before = await complete(await backend.endpoint(live), 'tiny@21', prompt, 0);
    const { pid, restarts } = await servingProcess(backend);
    await end(pid);
    const after = await servingProcess(backend, restarts + 1);
    expect(after.pid).not.toBe(pid);
    expectSame(await complete(await backend.endpoint(live), 'tiny@21', prompt, 0), before);
  });
});

function kill(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  return Promise.resolve();
}

/** A job of several seconds on what the live step answers. */
async function longJob(endpoint: Endpoint): Promise<TrainingJob> {
  const { ids, answer } = await complete(endpoint, 'tiny@21', prompt, 1);
  const call = {
    ...aCall({ promptIds: ids, completionIds: answer }),
    tokens: { promptIds: ids, completionIds: answer, logprobs: answer.map(() => null), logprobsMode: 'raw' },
  } as ModelCall;
  const member = (): TrainingGroup['members'][number] => ({
    trajectory: aTrajectory({ events: [call] }),
    reward: 1,
    advantage: 1,
  });
  return {
    jobId: 'long',
    name: 'tiny',
    step: steps + 1,
    parent: adapters.at(-1) ?? null,
    groups: Array.from({ length: 8 }, (_, group) => ({
      groupId: `g-${String(group)}`,
      members: Array.from({ length: 8 }, member),
    })),
    optimizer: { epochs: 40, learningRate: 1e-6 },
  };
}

/** Sends past the sidecar what it refuses: seeds, over more prompts than are read at once. */
async function poison(): Promise<void> {
  const { baseUrl, apiKey } = await servingProcess(backend);
  const answers = Array.from({ length: 24 }, async (_, number) => {
    const response = await fetch(`${baseUrl}/v1/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      // Each prompt begins otherwise: what is known from another one is not read again.
      body: JSON.stringify({
        model: 'base',
        prompt: Array<number>(900).fill(100 + number),
        seed: 7,
        max_tokens: 16,
      }),
    }).catch(() => undefined);
    return response?.status ?? 500;
  });
  expect(Math.max(...(await Promise.all(answers)))).toBe(500);
}
