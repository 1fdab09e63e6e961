/** Each way in which the service fails: what is tried again, what is not, and what the user reads. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  AbortedError,
  BackendUnavailableError,
  InvalidOptionError,
  InvalidRecordError,
  isApprenticeError,
  ServiceRequestError,
  TrainingFailedError,
} from '../../src/errors.ts';
import { serverlessBackend } from '../../src/backends/serverless/index.ts';
import type { Fault } from '../../src/testing/wandb-server/index.ts';
import { aGroup, aJob, collect, endOf, key, setUp, type Setup } from './setup.ts';

let setup: Setup;
beforeEach(async () => {
  setup = await setUp();
});
afterEach(() => setup.close());

const jobs = '/preview/training-jobs';

async function failureOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('Nothing failed.');
}

async function refusalOf(work: Promise<unknown>): Promise<ServiceRequestError> {
  const error = await failureOf(work);
  if (error instanceof ServiceRequestError) return error;
  throw error;
}

describe('registering', () => {
  it.each<[string, Fault]>([
    ['524 as HTML', { kind: 'html-524' }],
    [
      '500 workflow error',
      { kind: 'status', status: 500, detail: 'Failed to create model due to workflow error.' },
    ],
    ['a dropped connection', { kind: 'drop-after' }],
    ['429', { kind: 'rate-limit', retryAfterSeconds: 0 }],
  ])('is tried again after %s, because it gives the model that is there', async (_, fault) => {
    setup.server.fail({ method: 'POST', path: '/preview/models', fault, times: 2 });
    const running = await setup.start();
    expect(running.model.name).toBe('desk');
    expect(setup.count('POST', '/preview/models')).toBe(3);
  });

  it('says what failed once the tries are used up', async () => {
    setup.server.fail({ path: '/preview/models', fault: { kind: 'html-524' }, times: 9 });
    const error = await refusalOf(setup.start());
    expect(setup.count('POST', '/preview/models')).toBe(4);
    expect(error).toMatchObject({ status: 524, code: 'service_request_failed', retryable: true });
    expect(error.request).toBe(`POST ${setup.server.trainingUrl}/preview/models`);
    expect(error.message).toContain('a page of HTML ("524: A timeout occurred")');
  });

  it.each([
    [400, /names/],
    [401, /key.*entity/],
    [402, /quota|spend cap/],
    [403, /entity \(a team\)/],
    [404, /base URLs/],
    [422, /report it/],
  ])('is not tried again after %i, and says what to do', async (status, fix) => {
    setup.server.fail({
      path: '/preview/models',
      fault: { kind: 'status', status, detail: 'because' },
      times: 9,
    });
    const error = await refusalOf(setup.start());
    expect(setup.count('POST', '/preview/models')).toBe(1);
    expect(error).toMatchObject({ status, detail: 'because', retryable: false, mayBeDone: false });
    expect(error.fix).toMatch(fix);
  });

  it('after 409 is tried again, and says what stands in the way', async () => {
    setup.server.fail({ path: '/preview/models', fault: { kind: 'status', status: 409 }, times: 9 });
    const error = await refusalOf(setup.start());
    expect([setup.count('POST', '/preview/models'), error.status]).toEqual([4, 409]);
  });

  it('shows the fields of a 422', async () => {
    const detail = [{ loc: ['body', 'name'], msg: 'Field required', type: 'missing' }];
    setup.server.fail({ path: '/preview/models', fault: { kind: 'status', status: 422, detail } });
    expect((await refusalOf(setup.start())).detail).toBe('body.name: Field required');
  });

  it('refuses a base model that the service does not train, and one on which the name was not begun', async () => {
    const { trainingUrl, wandbUrl } = setup.server;
    const backend = serverlessBackend({ apiKey: key, trainingUrl, wandbUrl });
    const context = { project: 'shop', name: 'desk', folder: setup.folder, baseModel: 'other' };
    const error = await failureOf(backend.start(context));
    expect(error).toBeInstanceOf(InvalidOptionError);
    expect(error.message).toContain('scripted/base');
  });

  it('does without the list of base models, and without a run id, where a server is old', async () => {
    setup.server.behaviour.withoutRunId = true;
    setup.server.fail({ path: '/base-models', fault: { kind: 'status', status: 404 } });
    const running = await setup.start();
    expect(running.model.run_id).toBeUndefined();
    await running.log({ loss: 1 }, 1);
    expect(setup.server.run('shop', 'desk')?.history).toHaveLength(1);
  });

  it('keeps a path of one’s own, and says that nobody is there', async () => {
    const gone = await setUp();
    await gone.close();
    const error = await refusalOf(setup.start({ trainingUrl: `${gone.server.wandbUrl}/custom/v1/` }));
    expect(error.request).toBe(`GET ${gone.server.wandbUrl}/custom/v1/preview/base-models`);
    expect(error).toMatchObject({ mayBeDone: false, fix: 'Check the network and the base URL.' });
  });
});

describe('reading', () => {
  it('is tried again after 524, 500 and dropped connections', async () => {
    const running = await setup.start();
    for (const fault of [
      { kind: 'html-524' },
      { kind: 'status', status: 500 },
      { kind: 'drop-before' },
    ] as const)
      setup.server.fail({ path: '/checkpoints', fault });
    expect(await running.adapters()).toEqual([]);
    expect(setup.count('GET', '/checkpoints')).toBe(4);
  });

  it('waits as long as Retry-After asks, up to a minute', async () => {
    const running = await setup.start();
    setup.server.fail({ path: '/checkpoints', fault: { kind: 'rate-limit', retryAfterSeconds: 1 } });
    const startedAt = performance.now();
    await running.adapters();
    expect(performance.now() - startedAt).toBeGreaterThan(990);
    setup.server.fail({ path: '/checkpoints', fault: { kind: 'rate-limit', retryAfterSeconds: 3600 } });
    const error = await refusalOf(running.adapters());
    expect(error).toMatchObject({ status: 429, retryAfterMs: 3_600_000 });
    expect(error.message).toContain('Concurrency limit reached for requests. It asks to wait 3600 s.');
    expect(error.fix).toContain('limits.concurrency');
  });

  it('ends by the request’s time limit where no answer comes', async () => {
    const running = await setup.start({ requestTimeoutMs: 50 });
    setup.server.fail({ path: '/checkpoints', fault: { kind: 'hang' }, times: 4 });
    const error = await refusalOf(running.adapters());
    expect(error.message).toContain('it took too long');
  });

  it('deletes with a body, and is tried again', async () => {
    const running = await setup.start();
    const step = await endOf(running.train(aJob(1)));
    setup.server.fail({ method: 'DELETE', path: '/checkpoints', fault: { kind: 'status', status: 503 } });
    await running.publish(step);
    await expect(running.deleteCheckpoints([1])).rejects.toThrow(/without the steps that are published/);
    await running.retire(step);
    expect(await running.deleteCheckpoints([1, 9])).toEqual({ deleted: 1, notFound: [9] });
  });
});

describe('a job', () => {
  it.each<[string, Fault, number | undefined]>([
    ['524', { kind: 'html-524' }, 524],
    ['500', { kind: 'status', status: 500 }, 500],
    ['a connection dropped before an answer', { kind: 'drop-before' }, undefined],
  ])(
    'is never sent again by itself: after %s the user hears that it may be under way',
    async (_, fault, status) => {
      const running = await setup.start();
      setup.server.fail({ method: 'POST', path: jobs, fault });
      const error = await refusalOf(collect(running.train(aJob(1))));
      expect(setup.count('POST', jobs)).toBe(1);
      expect(error).toMatchObject({ mayBeDone: true, status });
      expect(error.message).toContain(
        'Whether job job-1 was accepted is not known; the latest step before it was 0.',
      );
      // The same job again: no step has appeared for as long as a job may be silent, so it is sent once more.
      expect((await endOf(running.train(aJob(1)))).step).toBe(1);
      expect(setup.count('POST', jobs)).toBe(2);
    },
  );

  it('that was accepted before the connection dropped is taken over, also by another start', async () => {
    const running = await setup.start();
    setup.server.fail({ method: 'POST', path: jobs, fault: { kind: 'drop-after' } });
    expect(await refusalOf(collect(running.train(aJob(1))))).toMatchObject({ mayBeDone: true });
    await setup.server.settled();
    expect((await endOf((await setup.start()).train(aJob(1)))).step).toBe(1);
    expect([setup.count('POST', jobs), setup.engine.jobs.length]).toEqual([1, 1]);
  });

  it.each([401, 402, 403, 429])(
    'that is refused with %i can be sent again when that is mended',
    async (status) => {
      const running = await setup.start();
      setup.server.fail({ method: 'POST', path: jobs, fault: { kind: 'status', status } });
      expect(await refusalOf(collect(running.train(aJob(1))))).toMatchObject({ status, mayBeDone: false });
      expect(setup.count('POST', jobs)).toBe(1);
      expect((await endOf(running.train(aJob(1)))).step).toBe(1);
    },
  );

  it.each([400, 404, 422])('that is refused for what it is (%i) has failed', async (status) => {
    const running = await setup.start();
    setup.server.fail({ method: 'POST', path: jobs, fault: { kind: 'status', status, detail: 'no' } });
    const error = await failureOf(collect(running.train(aJob(1))));
    expect(error).toBeInstanceOf(TrainingFailedError);
    expect(error.message).toContain('The service refused job job-1');
  });

  it('that fails at the service says why, or that nobody knows', async () => {
    const running = await setup.start();
    setup.server.behaviour.jobs = 'fail';
    const told = await failureOf(collect(running.train(aJob(1))));
    expect([told instanceof TrainingFailedError, isApprenticeError(told) && told.retryable]).toEqual([
      true,
      true,
    ]);
    expect(told.message).toContain('CUDA out of memory (scripted)');
    setup.server.behaviour.jobs = 'fail-without-message';
    const untold = await failureOf(collect(running.train(aJob(1))));
    expect(untold.message).toContain('the service does not say why');
    setup.server.behaviour.jobs = 'train';
    expect((await endOf(running.train(aJob(1)))).step).toBe(1);
  });

  it('that says nothing any more is left after the stall limit, and can be followed on', async () => {
    const running = await setup.start();
    setup.server.behaviour.jobs = 'stall';
    const error = await failureOf(collect(running.train(aJob(1))));
    expect(error).toBeInstanceOf(BackendUnavailableError);
    expect(error.message).toMatch(/has said nothing for \d+ s; it may go on at the service/);
    await failureOf(collect(running.train(aJob(1))));
    expect(setup.count('POST', jobs)).toBe(1);
  });

  it('ends at once by its signal, and by close', async () => {
    const running = await setup.start({ stallTimeoutMs: 60_000 });
    setup.server.behaviour.jobs = 'stall';
    const abort = new AbortController();
    setTimeout(() => {
      abort.abort();
    }, 30);
    await expect(collect(running.train(aJob(1), abort.signal))).rejects.toThrow(AbortedError);
    setTimeout(() => {
      void running.close();
    }, 30);
    await expect(collect(running.train(aJob(1)))).rejects.toThrow(AbortedError);
    expect(setup.count('POST', jobs)).toBe(1);
  });

  it('whose groups have no signal makes no step, and says why that may be', async () => {
    const running = await setup.start();
    const error = await failureOf(collect(running.train(aJob(1, null, [aGroup([1, 1])]))));
    expect(error).toBeInstanceOf(TrainingFailedError);
    expect(error.message).toMatch(/made no step 1.*all rewards of each group are equal/);
  });

  it('that made a step without a signal is as good as any', async () => {
    setup.server.behaviour.stepWithoutSignal = true;
    const running = await setup.start();
    expect((await endOf(running.train(aJob(1, null, [aGroup([1, 1])])))).step).toBe(1);
  });

  it('waits for a checkpoint whose list lags', async () => {
    setup.server.behaviour.checkpointLagMs = 80;
    const running = await setup.start({ checkpointTimeoutMs: 5000 });
    expect((await endOf(running.train(aJob(1)))).step).toBe(1);
  });

  it('reads repeated, unknown and odd events, over several pages, each once', async () => {
    Object.assign(setup.server.behaviour, { repeatStarted: true, oddEvents: true });
    const { engine } = setup;
    const train = engine.train.bind(engine);
    engine.train = (job) => train({ ...job, gradientSteps: 250 });
    const running = await setup.start();
    const events = await collect(running.train(aJob(1)));
    expect(events.filter((one) => one.type === 'started')).toHaveLength(1);
    const steps = events.filter((one) => one.type === 'gradient-step');
    expect(steps.map((one) => one.index)).toEqual(Array.from({ length: 250 }, (_, at) => at + 1));
    expect(steps[0]?.metrics).not.toHaveProperty('note');
    expect(steps[0]?.metrics['grad_norm']).toBe(0.5);
  });

  it('is read on where the service has forgotten the last event that was seen, none of them twice', async () => {
    const { engine, server } = setup;
    const train = engine.train.bind(engine);
    engine.train = async (job) => {
      job.onGradientStep({ loss: 2 });
      await new Promise((resolve) => setTimeout(resolve, 60));
      return train(job);
    };
    const running = await setup.start();
    const seen: string[] = [];
    for await (const event of running.train(aJob(1))) {
      seen.push(event.type);
      if (event.type === 'started') server.fail({ path: '/events', fault: { kind: 'status', status: 404 } });
    }
    expect(seen).toEqual(['started', 'gradient-step', 'gradient-step', 'ended']);
  });

  it('that the service has forgotten is known by the step that it made', async () => {
    const running = await setup.start();
    const made = await endOf(running.train(aJob(1)));
    setup.server.fail({ path: '/events', fault: { kind: 'status', status: 404 } });
    expect(await collect(running.train(aJob(1)))).toMatchObject([{ type: 'ended', adapter: made }]);
    expect(setup.count('POST', jobs)).toBe(1);
  });

  it('is not begun where somebody else has trained the model meanwhile', async () => {
    const running = await setup.start();
    const first = await endOf(running.train(aJob(1)));
    const error = await failureOf(collect(running.train({ ...aJob(1), jobId: 'other' })));
    expect(error.message).toContain('is to make step 1, but the service is at step 1');
    expect((await running.adapters()).map((one) => one.step)).toEqual([first.step]);
  });

  it('whose calls lack what the service needs is refused before it is sent', async () => {
    const running = await setup.start();
    const group = aGroup([0, 1]);
    const [event] = group.members[0]?.trajectory.events ?? [];
    if (event?.kind !== 'model-call' || event.tokens === null) throw new Error('There is no call.');
    event.tokens.logprobs = [];
    const error = await failureOf(collect(running.train(aJob(1, null, [group]))));
    expect(error).toBeInstanceOf(InvalidRecordError);
    expect(error.message).toMatch(/events\[0\]\.tokens\.logprobs.*as many as ids: 1.*is 0/);
    expect(setup.count('POST', jobs)).toBe(0);
  });
});

describe('publishing', () => {
  it('waits for a checkpoint that is not served yet', async () => {
    const running = await setup.start({ checkpointTimeoutMs: 5000 });
    const step = await endOf(running.train(aJob(1)));
    setup.server.fail({ path: '/chat/completions', fault: { kind: 'status', status: 404 }, times: 2 });
    expect((await running.publish(step)).tokens).toBeGreaterThan(0);
  });

  it('refuses other weights under the same step', async () => {
    const running = await setup.start();
    const step = await endOf(running.train(aJob(1)));
    await expect(running.publish({ ...step, version: 'other' })).rejects.toThrow(/other weights/);
  });

  it('refuses where answers come without token ids', async () => {
    const running = await setup.start();
    const step = await endOf(running.train(aJob(1)));
    const { engine } = setup;
    const chat = engine.chat.bind(engine);
    engine.chat = (body, target, signal) => chat({ ...body, return_token_ids: false }, target, signal);
    await expect(running.publish(step)).rejects.toThrow(/without token ids and logprobs/);
  });
});

describe('charts', () => {
  it('that cannot be drawn cost no step', async () => {
    const running = await setup.start();
    setup.server.fail({ path: '/graphql', fault: { kind: 'status', status: 500 }, times: 99 });
    expect((await endOf(running.train(aJob(1)))).step).toBe(1);
  });
});
