/** The stand-in's training API as an independent client sees it: §4 to §9 of the protocol's description. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  choice,
  eventsOf,
  group,
  registered,
  startJob,
  training,
  type Json,
} from './client-of-the-reference.ts';
import { scriptedEngine, startWandbServer, type WandbServer } from './index.ts';

let server: WandbServer;
beforeEach(async () => {
  server = await startWandbServer({ engine: scriptedEngine() });
});
afterEach(() => server.close());

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const checkpoints = async (id: string, query = ''): Promise<Json> =>
  (await training(server, 'GET', `/preview/models/${id}/checkpoints${query}`)).body;
const steps = (page: Json): number[] => (page['data'] as { step: number }[]).map((one) => one.step);

describe('authorisation', () => {
  it('is not asked for health, the system check and the base models', async () => {
    for (const path of ['/health', '/system-check', '/preview/base-models'])
      expect((await training(server, 'GET', path, undefined, null)).status, path).toBe(200);
    expect((await training(server, 'GET', '/preview/base-models', undefined, null)).body).toEqual([
      'scripted/base',
    ]);
  });

  it('is asked for everything else: 401 with a detail', async () => {
    for (const key of [null, 'Bearer wrong']) {
      const reply = await training(server, 'POST', '/preview/models', {}, key);
      expect(reply.status).toBe(401);
      expect(reply.body['detail']).toEqual(expect.any(String));
    }
  });
});

describe('models', () => {
  it('are made with a run, in the default entity, with checkpoint 0', async () => {
    const model = await registered(server);
    expect(model).toMatchObject({
      entity: 'stand-in',
      project: 'shop',
      name: 'desk',
      base_model: 'scripted/base',
    });
    expect(model.id).toMatch(uuid);
    expect(model['run_id']).toEqual(expect.any(String));
    expect(steps(await checkpoints(model.id))).toEqual([0]);
  });

  it('are looked up with return_existing and refused without', async () => {
    const model = await registered(server);
    expect((await registered(server)).id).toBe(model.id);
    const again = { project: 'shop', name: 'desk', base_model: 'scripted/base' };
    expect((await training(server, 'POST', '/preview/models', again)).status).toBe(409);
  });

  it('of an unknown base, or in a foreign entity, are refused', async () => {
    const body = { project: 'shop', name: 'desk', base_model: 'nobody/knows' };
    expect((await training(server, 'POST', '/preview/models', body)).status).toBe(400);
    const foreign = { ...body, base_model: 'scripted/base', entity: 'others' };
    expect((await training(server, 'POST', '/preview/models', foreign)).status).toBe(403);
  });

  it('are deleted with their checkpoints and their run', async () => {
    const model = await registered(server);
    const reply = await training(server, 'DELETE', `/preview/models/${model.id}`);
    expect(reply.body).toEqual({ model_id: model.id, deleted_checkpoints: 1, deleted_run: true });
    expect((await training(server, 'DELETE', `/preview/models/${model.id}`)).status).toBe(404);
  });

  it('come without run_id where that is switched on', async () => {
    server.behaviour.withoutRunId = true;
    expect(await registered(server)).not.toHaveProperty('run_id');
  });
});

describe('bad bodies', () => {
  it('are 422 with loc, msg and type for each field', async () => {
    const reply = await training(server, 'POST', '/preview/models', { project: 'shop', base_model: 7 });
    expect(reply.status).toBe(422);
    const detail = reply.body['detail'] as { loc: unknown[]; msg: string; type: string }[];
    expect(detail.map((one) => one.loc)).toEqual([
      ['body', 'name'],
      ['body', 'base_model'],
    ]);
    for (const one of detail) expect([typeof one.msg, typeof one.type]).toEqual(['string', 'string']);
    expect(detail[0]?.type).toBe('missing');
    expect((await training(server, 'POST', '/preview/models', '{')).status).toBe(422);
  });

  it('name the place inside a trajectory', async () => {
    const model = await registered(server);
    const bad = { trajectories: [{ messages_and_choices: [{ role: 'robot' }], reward: 'much' }] };
    const body = { model_id: model.id, trajectory_groups: [bad] };
    const reply = await training(server, 'POST', '/preview/training-jobs', body);
    expect(reply.status).toBe(422);
    expect(JSON.stringify(reply.body['detail'])).toContain('"trajectory_groups",0,"trajectories",0,"reward"');
  });
});

describe('jobs', () => {
  it('are unknown models’ 404', async () => {
    const body = { model_id: '00000000-0000-4000-8000-000000000000', trajectory_groups: [] };
    expect((await training(server, 'POST', '/preview/training-jobs', body)).status).toBe(404);
  });

  it('tell what they do, and make the next step', async () => {
    const model = await registered(server);
    const id = await startJob(server, model.id, [group([0, 1]), group([1, 0, 0.5])]);
    expect(id).toMatch(uuid);
    await server.settled();
    const events = await eventsOf(server, id);
    expect(events.map((one) => one['type'])).toEqual([
      'training_started',
      'gradient_step',
      'gradient_step',
      'training_ended',
    ]);
    expect(events[0]?.['data']).toMatchObject({ num_sequences: 2 });
    for (const value of Object.values(events[1]?.['data'] as Json)) expect(value).toEqual(expect.any(Number));
    expect(steps(await checkpoints(model.id, '?limit=1&order=desc'))).toEqual([1]);
    expect((await training(server, 'GET', `/preview/training-jobs/${id}`)).body).toMatchObject({ id });
    // Repeating the request trains again: there is no idempotency.
    await startJob(server, model.id, [group([0, 1])]);
    await server.settled();
    expect(steps(await checkpoints(model.id))).toEqual([0, 1, 2]);
  });

  it('fail where a trainable choice lacks its token ids, or has other than as many logprobs', async () => {
    const model = await registered(server);
    for (const [made, says] of [
      [choice({ token_ids: undefined }), /prompt_token_ids\/token_ids/],
      [choice({ prompt_token_ids: null }), /prompt_token_ids\/token_ids/],
      [choice({ token_ids: [4] }), /2 logprobs for 1 token_ids/],
    ] as const) {
      const id = await startJob(server, model.id, [group([0, 1], made)]);
      await server.settled();
      const last = (await eventsOf(server, id)).at(-1);
      expect(last?.['type']).toBe('training_failed');
      expect((last?.['data'] as Json)['error_message']).toMatch(says);
    }
    expect(steps(await checkpoints(model.id))).toEqual([0]);
  });

  it('make no step without a signal or without logprobs, unless that is switched on', async () => {
    const model = await registered(server);
    await startJob(server, model.id, [group([1, 1])]);
    await startJob(server, model.id, [group([0, 1], choice({ logprobs: null }))]);
    await server.settled();
    expect(steps(await checkpoints(model.id))).toEqual([0]);
    server.behaviour.stepWithoutSignal = true;
    await startJob(server, model.id, [group([1, 1])]);
    await server.settled();
    expect(steps(await checkpoints(model.id))).toEqual([0, 1]);
  });

  it('fail with and without a message on demand, and stall', async () => {
    const model = await registered(server);
    const last = async (): Promise<Json | undefined> => {
      const id = await startJob(server, model.id, [group([0, 1])]);
      await server.settled();
      return (await eventsOf(server, id)).at(-1);
    };
    server.behaviour.jobs = 'fail';
    expect((await last())?.['data']).toHaveProperty('error_message');
    server.behaviour.jobs = 'fail-without-message';
    expect((await last())?.['data']).toEqual({});
    server.behaviour.jobs = 'stall';
    expect(await last()).toBeUndefined();
  });
});

describe('pages', () => {
  it('hold as many as asked for, and say whether more follow', async () => {
    const model = await registered(server);
    for (let job = 0; job < 4; job += 1) await startJob(server, model.id, [group([0, 1])]);
    await server.settled();
    const first = await checkpoints(model.id, '?limit=2');
    expect(first).toMatchObject({ object: 'list', has_more: true });
    expect(steps(first)).toEqual([0, 1]);
    const [, last] = first['data'] as { id: string }[];
    expect([first['first_id'], first['last_id']]).toEqual([
      (first['data'] as { id: string }[])[0]?.id,
      last?.id,
    ]);
    const second = await checkpoints(model.id, `?limit=100&after=${last?.id ?? ''}`);
    expect(steps(second)).toEqual([2, 3, 4]);
    expect(second['has_more']).toBe(false);
    expect(await checkpoints(model.id, '?order=desc&limit=1')).toMatchObject({ has_more: true });
    const empty = await checkpoints(model.id, `?after=${String(second['last_id'])}`);
    expect(empty).toMatchObject({ data: [], first_id: '', last_id: '', has_more: false });
  });

  it('refuse limits out of range with 422, and an unknown `after` with 404', async () => {
    const model = await registered(server);
    for (const [query, status] of [
      ['?limit=0', 422],
      ['?limit=101', 422],
      ['?after=nobody', 404],
    ] as const) {
      const reply = await training(server, 'GET', `/preview/models/${model.id}/checkpoints${query}`);
      expect(reply.status, query).toBe(status);
    }
  });

  it('of events go on after the one named, repeat the start on demand, and are 404 for unknown jobs', async () => {
    const model = await registered(server);
    const id = await startJob(server, model.id, [group([0, 1])]);
    await server.settled();
    const [started, step, ended] = await eventsOf(server, id);
    expect(await eventsOf(server, id, `?after=${String(started?.['id'])}`)).toEqual([step, ended]);
    server.behaviour.repeatStarted = true;
    expect(await eventsOf(server, id, `?after=${String(step?.['id'])}`)).toEqual([started, ended]);
    expect((await training(server, 'GET', '/preview/training-jobs/none/events')).status).toBe(404);
    server.behaviour.unknownJob = 'empty';
    expect(await eventsOf(server, 'none')).toEqual([]);
  });
});

describe('checkpoints', () => {
  it('are deleted by their steps, unknown ones named', async () => {
    const model = await registered(server);
    await startJob(server, model.id, [group([0, 1])]);
    await server.settled();
    const body = { steps: [0, 7] };
    const reply = await training(server, 'DELETE', `/preview/models/${model.id}/checkpoints`, body);
    expect(reply.body).toEqual({ deleted_count: 1, not_found_steps: [7] });
    expect(steps(await checkpoints(model.id))).toEqual([1]);
  });
});

describe('failures on demand', () => {
  it('are HTML, a Retry-After, a dropped connection after the work was done', async () => {
    const model = await registered(server);
    server.fail({ path: '/checkpoints', fault: { kind: 'html-524' } });
    const edge = await training(server, 'GET', `/preview/models/${model.id}/checkpoints`);
    expect([edge.status, edge.type]).toEqual([524, expect.stringContaining('text/html')]);
    server.fail({ path: '/checkpoints', fault: { kind: 'rate-limit', retryAfterSeconds: 3 } });
    const limited = await fetch(`${server.trainingUrl}/preview/models/${model.id}/checkpoints`);
    expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '3']);
    server.fail({ path: '/training-jobs', fault: { kind: 'drop-after' } });
    await expect(startJob(server, model.id, [group([0, 1])])).rejects.toThrow();
    await server.settled();
    expect(steps(await checkpoints(model.id))).toEqual([0, 1]);
  });
});

describe('inference', () => {
  const name = 'wandb-artifact:///stand-in/shop/desk';
  const ask = (model: string, more: Json = {}) =>
    training(server, 'POST', '/chat/completions', {
      model,
      messages: [{ role: 'user', content: 'Hi' }],
      ...more,
    });

  it('answers under the latest, a step, a version and the alias latest; 404 otherwise', async () => {
    const model = await registered(server);
    await startJob(server, model.id, [group([0, 1])]);
    await server.settled();
    for (const suffix of ['', ':step0', ':step1', ':latest', ':v0', ':v1'])
      expect((await ask(name + suffix)).body['model'], suffix).toBe(name + suffix);
    for (const wrong of [`${name}:step2`, `${name}x`, 'desk@1', name.replace('///', '//')])
      expect((await ask(wrong)).status, wrong).toBe(404);
  });

  it('gives token ids, logprobs and tokens as ids where asked', async () => {
    await registered(server);
    const plain = (await ask(name)).body;
    expect(plain).not.toHaveProperty('prompt_token_ids');
    const asked = { logprobs: true, return_token_ids: true, return_tokens_as_token_ids: true };
    const { prompt_token_ids: prompt, choices } = (await ask(name, asked)).body;
    const [first] = choices as {
      token_ids: number[];
      logprobs: { content: { token: string; logprob: number }[] };
    }[];
    expect(prompt).toEqual(expect.arrayContaining([expect.any(Number)]));
    expect(first?.logprobs.content.map((one) => one.token)).toEqual(
      first?.token_ids.map((id) => `token_id:${String(id)}`),
    );
  });

  it('streams them piecewise', async () => {
    await registered(server);
    const response = await fetch(`${server.trainingUrl}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.apiKey}` },
      body: JSON.stringify({
        model: name,
        messages: [{ role: 'user', content: 'Hi' }],
        stream: true,
        logprobs: true,
        return_token_ids: true,
      }),
    });
    const lines = (await response.text()).split('\n\n').filter((line) => line.startsWith('data: {'));
    const chunks = lines.map((line) => JSON.parse(line.slice(6)) as Json);
    expect(chunks.filter((one) => one['prompt_token_ids'] !== undefined)).toHaveLength(1);
    const ids = chunks.flatMap((one) =>
      (one['choices'] as { token_ids?: number[] }[]).flatMap((it) => it.token_ids ?? []),
    );
    expect(ids).toEqual([11, 12]);
    for (const one of chunks) expect(one['model']).toBe(name);
  });

  it('refuses a request without messages with 422', async () => {
    await registered(server);
    expect((await training(server, 'POST', '/chat/completions', { model: name })).status).toBe(422);
  });
});
