/** What goes over the wire when all is well: groups, names, settings, SFT, weights, charts. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AdapterRefusedError, ServiceRequestError, TrainingFailedError } from '../../src/errors.ts';
import { aGroup, aJob, collect, endOf, setUp, type Setup } from './setup.ts';

let setup: Setup;
beforeEach(async () => {
  setup = await setUp();
});
afterEach(() => setup.close());

type Json = Readonly<Record<string, unknown>>;

/** Bodies of the requests whose path ends so. */
function bodies(ending: string): Json[] {
  const found = setup.server.requests.filter((one) => one.method === 'POST' && one.path.endsWith(ending));
  return found.map((one) => JSON.parse(one.body) as Json);
}

describe('a job', () => {
  it('carries the groups and every setting under the service’s names', async () => {
    const running = await setup.start({ config: { advantage_balance: 0 } });
    const job = {
      ...aJob(1, null, [aGroup([0, 1, 1], 's1'), aGroup([0, 0.5], 's2')]),
      loss: { kind: 'ppo', clipLow: 0.2, clipHigh: 0.3, klCoefficient: 0.1 },
      optimizer: { learningRate: 1e-5 },
      advantages: { scaleByStandardDeviation: true },
    } as const;
    await endOf(running.train(job));
    const [body] = bodies('/preview/training-jobs');
    expect(body).toMatchObject({
      model_id: running.model.id,
      experimental_config: {
        learning_rate: 1e-5,
        loss_fn: 'ppo',
        ppo: true,
        epsilon: 0.2,
        epsilon_high: 0.3,
        importance_sampling_level: 'token',
        scale_rewards: true,
        normalize_advantages: true,
        kl_penalty_coef: 0.1,
        kl_penalty_source: 'sample',
        kl_penalty_reference_step: 0,
        kl_penalty_step_lag: null,
        allow_training_without_logprobs: false,
      },
    });
    const groups = body?.['trajectory_groups'] as { trajectories: { reward: number; metadata: Json }[] }[];
    expect(groups.map((group) => group.trajectories.map((one) => one.reward))).toEqual([
      [0, 1, 1],
      [0, 0.5],
    ]);
    expect(groups[1]?.trajectories[0]?.metadata['scenario_id']).toBe('s2');
    // The service computed the advantages itself: (r − mean) / std.
    const advantages = setup.engine.jobs[0]?.rows.slice(0, 3).map((row) => row.advantages[0] ?? 0) ?? [];
    expect(advantages[0]).toBeCloseTo(-Math.SQRT2, 4);
    expect(advantages[1]).toBeCloseTo(Math.SQRT1_2, 4);
  });

  it('ends with means over its gradient steps, under the names of the charts', async () => {
    const running = await setup.start();
    const events = await collect(running.train(aJob(1, null, [aGroup([0, 1], 's1'), aGroup([0, 1], 's2')])));
    const last = events.at(-1);
    expect(last?.type === 'ended' && last.metrics).toMatchObject({
      'loss/train': 0.75,
      'loss/grad_norm': 0.5,
      'data/step_num_gradient_steps': 2,
      'data/step_num_scenarios': 2,
      'data/step_num_trajectories': 4,
      'data/step_num_groups_trainable': 2,
      reward: 0.5,
    });
    const rows = setup.server.run('shop', 'desk')?.history.map((line) => JSON.parse(line) as Json) ?? [];
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ training_step: 1, 'loss/train': 0.75, _step: 0 });
    expect(setup.server.run('shop', 'desk')).toMatchObject({ open: false, state: 'finished' });
  });

  it('draws no charts where they are off', async () => {
    const running = await setup.start({ metrics: 'off' });
    await endOf(running.train(aJob(1)));
    expect(setup.count('POST', '/graphql')).toBe(0);
    await running.log({ 'val/success': 0.4 }, 1);
    await running.log({ 'val/success': 0.6 }, 2);
    expect(setup.server.run('shop', 'desk')?.history).toHaveLength(2);
  });
});

describe('names', () => {
  it('are the artifact’s: without a step for the latest, with one for a step, step 0 for the base', async () => {
    const running = await setup.start();
    const step = await endOf(running.train(aJob(1)));
    await running.publish(step);
    expect(running.latestName).toBe('wandb-artifact:///stand-in/shop/desk');
    expect((await running.endpoint('base')).model).toBe('wandb-artifact:///stand-in/shop/desk:step0');
    expect((await running.endpoint(step)).model).toBe('wandb-artifact:///stand-in/shop/desk:step1');
    expect((await running.endpoint(step)).baseUrl).toBe(setup.server.trainingUrl);
  });
});

const turn = (role: 'user' | 'assistant', content: string) => ({ role, content });
const examples = ['a', 'b', 'c'].map((letter) => ({
  messages: [turn('user', letter), turn('assistant', `say ${letter}`)],
}));

describe('fine-tuning', () => {
  it('uploads the examples, closes the run, and trains on them', async () => {
    const running = await setup.start();
    const events = await collect(running.fineTune({ examples, batchSize: 2, learningRate: [1e-4, 5e-5] }));
    expect(events.map((one) => one.type)).toEqual(['started', 'gradient-step', 'gradient-step', 'ended']);
    expect(setup.engine.jobs[0]).toMatchObject({ step: 1, learningRate: [1e-4, 5e-5] });
    const [body] = bodies('/preview/sft-training-jobs');
    expect(body).toMatchObject({
      training_data_url: expect.stringMatching(
        /^wandb-artifact:\/\/\/stand-in\/shop\/desk-sft-data-[0-9a-f]{12}:v0$/,
      ) as unknown,
      config: {
        batch_size: 2,
        learning_rate: [1e-4, 5e-5],
        metric_logging: { enabled: true, target_training_step: 1 },
      },
    });
    const last = events.at(-1);
    if (last?.type !== 'ended') throw new Error('It did not end.');
    await running.publish(last.adapter);
    expect((await running.endpoint(last.adapter)).model).toMatch(/:step1$/);
    // The same examples once more: the data is there, the next step is made.
    expect((await endOf(running.fineTune({ examples }))).step).toBe(2);
    expect(setup.count('PUT', '')).toBe(2);
  });

  it('is followed on by the same examples after an abort', async () => {
    const running = await setup.start();
    const abort = new AbortController();
    const left = async (): Promise<void> => {
      for await (const event of running.fineTune({ examples }, abort.signal))
        if (event.type === 'started') abort.abort();
    };
    await expect(left()).rejects.toThrow(/aborted/);
    await setup.server.settled();
    expect((await endOf((await setup.start()).fineTune({ examples }))).step).toBe(1);
    expect(setup.count('POST', '/sft-training-jobs')).toBe(1);
  });

  it('that could not be uploaded is not taken for a job that may be under way', async () => {
    // If it were, its step would be waited for longer than a test may take.
    const running = await setup.start({ stallTimeoutMs: 600_000 });
    setup.server.fail({ path: '/signed/', fault: { kind: 'status', status: 500 }, times: 4 });
    await expect(collect(running.fineTune({ examples }))).rejects.toThrow(ServiceRequestError);
    expect((await endOf(running.fineTune({ examples }))).step).toBe(1);
    expect(setup.count('POST', '/sft-training-jobs')).toBe(1);
  });

  it('fails where the data is gone, and refuses examples that teach nothing', async () => {
    const running = await setup.start();
    setup.server.fail({
      path: '/sft-training-jobs',
      fault: { kind: 'status', status: 400, detail: 'The data artifact does not exist.' },
    });
    await expect(collect(running.fineTune({ examples }))).rejects.toThrow(TrainingFailedError);
    for (const [options, says] of [
      [{ examples: [] }, /"fineTune.examples"/],
      [{ examples: [{ messages: [turn('user', 'q')] }] }, /examples\[0\].messages.*"user"/],
      [{ examples, learningRate: [1, 2] }, /one number where `batchSize` is left out/],
      [{ examples, batchSize: 1, learningRate: [1, 2] }, /a list of 3/],
      [{ examples, batchSize: 0 }, /"fineTune.batchSize".*is 0/],
    ] as const)
      await expect(collect(running.fineTune(options))).rejects.toThrow(says);
  });
});

describe('weights', () => {
  it('are fetched whole, each byte checked', async () => {
    const running = await setup.start();
    await endOf(running.train(aJob(1)));
    const folder = join(setup.folder, 'weights');
    const digest = await running.download(1, folder);
    const names = (await readdir(folder)).sort();
    expect(names).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    const lines = await Promise.all(
      names.map(async (name) => {
        const bytes = await readFile(join(folder, name));
        return `${name}:${createHash('md5').update(bytes).digest('base64')}\n`;
      }),
    );
    const whole = createHash('md5')
      .update(`wandb-artifact-manifest-v1\n${lines.join('')}`)
      .digest('hex');
    expect(digest).toBe(whole);
  });

  it('that are not what the manifest says are refused, and nothing is left', async () => {
    const running = await setup.start();
    const { engine } = setup;
    await endOf(running.train(aJob(1)));
    const folder = join(setup.folder, 'weights');
    const fetched = globalThis.fetch;
    globalThis.fetch = async (input, init) => {
      const response = await fetched(input, init);
      const bytes = new Uint8Array(await response.clone().arrayBuffer());
      if (!new TextDecoder().decode(bytes).startsWith('weights of')) return response;
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      return new Response(bytes);
    };
    try {
      await expect(running.download(1, folder)).rejects.toThrow(AdapterRefusedError);
    } finally {
      globalThis.fetch = fetched;
    }
    expect(engine.jobs).toHaveLength(1);
    expect(
      (await readdir(setup.folder)).filter((name) => name.includes('tmp') || name === 'weights'),
    ).toEqual([]);
  });

  it('of a step that is not there are a 404', async () => {
    const running = await setup.start();
    const error: unknown = await running
      .download(9, join(setup.folder, 'none'))
      .catch((caught: unknown) => caught);
    expect(error instanceof ServiceRequestError && error.status).toBe(404);
  });
});
