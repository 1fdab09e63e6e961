/** Steps that are swapped under load: nothing is dropped, and each answer comes wholly from the step that it asked for. */
import { expect } from 'vitest';
import { z } from 'zod';
import type { AdapterRef, Endpoint, RunningBackend } from '../src/backends/backend.ts';
import type { ModelCall } from '../src/index.ts';
import { aCall, aTrajectory } from '../src/testing/records.ts';

/** Trains what the base model answers to a prompt up or down, so that each step differs. */
async function trainStep(
  backend: RunningBackend,
  step: number,
  parent: AdapterRef | undefined,
): Promise<AdapterRef> {
  const endpoint = await backend.endpoint('base');
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
    parent: parent ?? null,
    groups: [{ groupId: 'g', members: [{ trajectory, reward: 0, advantage: step % 2 === 0 ? 1 : -1 }] }],
    optimizer: { learningRate: 1e-2 },
  };
  for await (const event of backend.train(job)) if (event.type === 'ended') return event.adapter;
  throw new Error('The job did not end.');
}

/** Steps 1 to `count` of the adapter `tiny`, each trained on the one before. */
export async function trainSteps(backend: RunningBackend, count: number): Promise<AdapterRef[]> {
  const adapters: AdapterRef[] = [];
  for (let step = 1; step <= count; step += 1) adapters.push(await trainStep(backend, step, adapters.at(-1)));
  return adapters;
}

/**
 * 16 streams at a time, while step after step of `adapters` is published and the fourth last retired. Each answer must
 * name one step, and be the same as all others of that step to the same prompt. Gives how many answers there were.
 */
export async function swapUnderLoad(
  backend: RunningBackend,
  adapters: readonly AdapterRef[],
): Promise<number> {
  const endpoint = await backend.endpoint('base');
  const publish = (step: number) => {
    const adapter = adapters[step - 1];
    if (adapter === undefined) throw new Error(`Step ${String(step)} was not trained.`);
    return backend.publish(adapter);
  };
  await publish(1);
  let live = 1;
  let swapping = true;
  const answers: { step: number; prompt: string; models: string[]; ids: number[]; logprobs: number[] }[] = [];
  const client = async (number: number): Promise<void> => {
    for (let turn = 0; swapping && turn < 500; turn += 1) {
      const step = live;
      const prompt = `Say back: chair ${String(number % 4)}`;
      answers.push({ step, prompt, ...(await stream(endpoint, `tiny@${String(step)}`, prompt)) });
    }
  };
  const clients = Promise.all(Array.from({ length: 16 }, (_, number) => client(number)));
  clients.catch(() => undefined); // reported at the end
  const gaps: number[] = [];
  try {
    for (let step = 2; step <= adapters.length; step += 1) {
      const report = await publish(step);
      gaps.push(report.against === 'trainer' ? report.maxGap : Infinity);
      live = step;
      if (step > 3) await backend.retire({ name: 'tiny', step: step - 3 });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    swapping = false;
  }
  await clients;
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
  return answers.length;
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

/** A whole answer to one prompt, token by token. */
export async function complete(endpoint: Endpoint, model: string, prompt: string, temperature: number) {
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

export async function post(endpoint: Endpoint, body: object): Promise<Response> {
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
export async function stream(endpoint: Endpoint, model: string, prompt: string) {
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

type Completed = Awaited<ReturnType<typeof complete>>;

/** The same tokens; logprobs equal but for the rounding of another batch. */
export function expectSame(now: Completed, before: Completed): void {
  expect(now.answer).toEqual(before.answer);
  for (const [index, logprob] of now.logprobs.entries())
    expect(logprob).toBeCloseTo(before.logprobs[index] ?? 1, 4);
}
