/** Swaps under load: nothing is dropped, and each answer comes wholly from the step that it asked for. */
import { cp, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { AdapterRef, Endpoint, RunningBackend } from '../src/backends/backend.ts';
import type { Apprentice, ModelCall } from '../src/index.ts';
import { AdapterRefusedError } from '../src/errors.ts';
import { aCall, aTrajectory } from '../src/testing/records.ts';
import { trainingApprentice } from './sidecar.ts';

const steps = 21;
let apprentice: Apprentice;
let backend: RunningBackend;
let folder: string;
const adapters: AdapterRef[] = [];

/** Trains what the base model answers to a prompt up or down, so that each step differs. */
async function trainStep(endpoint: Endpoint, step: number): Promise<AdapterRef> {
  const { ids, answer } = await complete(endpoint, 'base', `Say back: lamp ${String(step)}`, 1);
  const logprobs = answer.map(() => null);
  const call = aCall({ promptIds: ids, completionIds: answer });
  const trained = {
    ...call,
    tokens: { promptIds: ids, completionIds: answer, logprobs, logprobsMode: 'raw' },
  };
  const trajectory = aTrajectory({ events: [trained as ModelCall] });
  const job = {
    jobId: `step-${String(step)}`,
    name: 'tiny',
    step,
    parent: adapters.at(-1) ?? null,
    groups: [{ groupId: 'g', members: [{ trajectory, reward: 0, advantage: step % 2 === 0 ? 1 : -1 }] }],
    optimizer: { learningRate: 1e-2 },
  };
  for await (const event of backend.train(job)) if (event.type === 'ended') return event.adapter;
  throw new Error('The job did not end.');
}

function adapter(step: number): AdapterRef {
  const found = adapters[step - 1];
  if (found === undefined) throw new Error(`Step ${String(step)} was not trained.`);
  return found;
}

const completion = z.object({
  model: z.string(),
  prompt_token_ids: z.array(z.int()),
  choices: z.array(
    z.object({
      token_ids: z.array(z.int()),
      logprobs: z.object({ content: z.array(z.object({ logprob: z.number() })) }),
    }),
  ),
});

async function complete(endpoint: Endpoint, model: string, prompt: string, temperature: number) {
  const response = await post(endpoint, {
    model,
    messages: [{ role: 'user', content: prompt }],
    temperature,
    max_tokens: 24,
  });
  const body = completion.parse(await response.json());
  const [choice] = body.choices;
  return {
    ids: body.prompt_token_ids,
    answer: choice?.token_ids ?? [],
    logprobs: choice?.logprobs.content.map((one) => one.logprob) ?? [],
  };
}

async function post(endpoint: Endpoint, body: object): Promise<Response> {
  const response = await fetch(`${endpoint.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${endpoint.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, logprobs: true, return_token_ids: true }),
  });
  if (!response.ok) throw new Error(`HTTP ${String(response.status)}: ${await response.text()}`);
  return response;
}

const chunk = z.object({
  model: z.string(),
  choices: z.array(
    z.object({
      token_ids: z.array(z.int()).optional(),
      logprobs: z.object({ content: z.array(z.object({ logprob: z.number() })) }).nullish(),
    }),
  ),
});

/** A whole streamed answer: the models that its chunks name, its ids and their logprobs. */
async function stream(endpoint: Endpoint, model: string, prompt: string) {
  const response = await post(endpoint, {
    model,
    messages: [{ role: 'user', content: prompt }],
    temperature: 0,
    max_tokens: 24,
    stream: true,
  });
  const text = await response.text();
  const lines = text.split('\n\n').filter((line) => line.startsWith('data: {'));
  const chunks = lines.map((line) => chunk.parse(JSON.parse(line.slice('data: '.length))));
  expect(text).toContain('data: [DONE]');
  return {
    models: [...new Set(chunks.map((one) => one.model))],
    ids: chunks.flatMap((one) => one.choices.flatMap((choice) => choice.token_ids ?? [])),
    logprobs: chunks.flatMap((one) =>
      one.choices.flatMap((choice) => choice.logprobs?.content.map((entry) => entry.logprob) ?? []),
    ),
  };
}

beforeAll(async () => {
  ({ apprentice, folder } = await trainingApprentice());
  backend = await apprentice.backend();
  const endpoint = await backend.endpoint('base');
  for (let step = 1; step <= steps; step += 1) adapters.push(await trainStep(endpoint, step));
});
afterAll(() => apprentice.close());

describe('the local backend', () => {
  it('answers 16 streams at a time through 20 swaps without an error, each wholly from one step', async () => {
    const endpoint = await backend.endpoint('base');
    const publish = (step: number) => backend.publish(adapter(step));
    await publish(1);
    let live = 1;
    let swapping = true;
    const answers: { step: number; prompt: string; models: string[]; ids: number[]; logprobs: number[] }[] =
      [];
    const client = async (number: number): Promise<void> => {
      for (let turn = 0; swapping && turn < 500; turn += 1) {
        const step = live;
        const prompt = `Say back: chair ${String(number % 4)}`;
        answers.push({ step, prompt, ...(await stream(endpoint, `tiny@${String(step)}`, prompt)) });
      }
    };
    const clients = Array.from({ length: 16 }, (_, number) => client(number));
    const gaps: number[] = [];
    for (let step = 2; step <= steps; step += 1) {
      const report = await publish(step);
      gaps.push(report.against === 'trainer' ? report.maxGap : Infinity);
      live = step;
      if (step > 3) await backend.retire({ name: 'tiny', step: step - 3 });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    swapping = false;
    await Promise.all(clients);
    expect(Math.max(...gaps)).toBeLessThan(1e-3);
    expect(new Set(answers.map((one) => one.step)).size).toBeGreaterThan(10);
    // Greedy answers of one step to one prompt are the same however the batch looked; other steps give other logprobs.
    const byStepAndPrompt = Map.groupBy(answers, (one) => `${String(one.step)} ${one.prompt}`);
    for (const same of byStepAndPrompt.values()) {
      const [first, ...others] = same;
      for (const other of others) {
        expect(other.ids).toEqual(first?.ids);
        for (const [index, logprob] of other.logprobs.entries())
          expect(logprob).toBeCloseTo(first?.logprobs[index] ?? 1, 3);
      }
    }
    for (const one of answers) expect(one.models).toEqual([`tiny@${String(one.step)}`]);
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

type Completed = Awaited<ReturnType<typeof complete>>;

/** The same tokens; logprobs equal but for the rounding of another batch. */
function expectSame(now: Completed, before: Completed): void {
  expect(now.answer).toEqual(before.answer);
  for (const [index, logprob] of now.logprobs.entries())
    expect(logprob).toBeCloseTo(before.logprobs[index] ?? 1, 4);
}

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
