/** Against the stand-in that trains for real: learning from examples, and leaving with the weights. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import type { Endpoint, RunningBackend } from '../../src/backends/backend.ts';
import { ensureEnvironment, localBackend, tinyModelFolder } from '../../src/backends/local/index.ts';
import { serverlessBackend, type RunningServerlessBackend } from '../../src/backends/serverless/index.ts';
import {
  startSidecarEngine,
  startWandbServer,
  type WandbServer,
} from '../../src/testing/wandb-server/index.ts';
import { freshFolder } from '../recording.ts';
import { collect } from './setup.ts';

let server: WandbServer;
let running: RunningServerlessBackend;
let python: string;
let folder: string;
beforeAll(async () => {
  ({ python } = await ensureEnvironment({ dev: true }));
  folder = await freshFolder();
  server = await startWandbServer({ engine: await startSidecarEngine({ python }) });
  const { apiKey, trainingUrl, wandbUrl } = server;
  const backend = serverlessBackend({ apiKey, trainingUrl, wandbUrl, pollMs: 50 });
  running = await backend.start({ project: 'test', name: 'echo', baseModel: 'apprentice/tiny', folder });
});
afterAll(() => server.close());

const completion = z.looseObject({
  choices: z.array(
    z.looseObject({
      token_ids: z.array(z.int()),
      message: z.looseObject({ content: z.string().nullish() }),
      logprobs: z.looseObject({ content: z.array(z.looseObject({ logprob: z.number() })) }),
    }),
  ),
});

async function greedy({ baseUrl, apiKey, model }: Endpoint) {
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'answer yes, no or maybe' }],
      temperature: 0,
      max_tokens: 5,
      logprobs: true,
      return_token_ids: true,
    }),
  });
  const [choice] = completion.parse(await response.json()).choices;
  return {
    text: choice?.message.content?.trim(),
    ids: choice?.token_ids,
    logprobs: choice?.logprobs.content.map((one) => one.logprob) ?? [],
  };
}

it('learns from examples what it did not say before', async () => {
  expect((await greedy(await running.endpoint('base'))).text).not.toBe('maybe');
  const example = {
    messages: [
      { role: 'user', content: 'answer yes, no or maybe' },
      { role: 'assistant', content: 'maybe' },
    ],
  } as const;
  const examples = Array.from({ length: 24 }, () => example);
  const events = await collect(running.fineTune({ examples, batchSize: 2, learningRate: 3e-3 }));
  const losses = events.flatMap((one) => (one.type === 'gradient-step' ? [one.metrics['loss'] ?? 0] : []));
  expect(losses).toHaveLength(12);
  expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) / 2);
  const last = events.at(-1);
  if (last?.type !== 'ended') throw new Error('It did not end.');
  await running.publish(last.adapter);
  expect((await greedy(await running.endpoint(last.adapter))).text).toBe('maybe');
});

it('leaves with the weights: fetched, adopted and served on this machine, they answer the same', async () => {
  const [step] = await running.adapters();
  if (step === undefined) throw new Error('There is no step.');
  await running.publish(step);
  const there = await greedy(await running.endpoint(step));
  const weights = join(folder, 'weights');
  await running.download(step.step, weights);
  const context = { project: 'test', name: 'echo', baseModel: tinyModelFolder(), folder };
  const local = await localBackend({ environment: python }).start(context);
  try {
    const adopted = await local.adopt(weights, step.step);
    const canary = await local.publish(adopted);
    expect(canary.baseGap).toBeGreaterThan(0);
    const here = await greedy(await local.endpoint(adopted));
    expect(here.ids).toEqual(there.ids);
    here.logprobs.forEach((logprob, at) => {
      expect(logprob).toBeCloseTo(there.logprobs[at] ?? 1, 4);
    });
    const kept: RunningBackend = local;
    expect(await kept.adapters()).toEqual([adopted]);
  } finally {
    await local.close();
  }
});
