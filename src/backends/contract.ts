/**
 * What every backend must do. Called inside a test file: `backendContract('local', { start })`. Trains for real, a few
 * tokens at a time.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  AbortedError,
  AdapterRefusedError,
  BackendUnavailableError,
  TrainingFailedError,
} from '../errors.ts';
import { aCall, aTrajectory } from '../testing/records.ts';
import { policyId } from '../trajectory/ids.ts';
import type { ModelCall } from '../trajectory/records.ts';
import type {
  AdapterRef,
  Backend,
  PolicyTarget,
  RunningBackend,
  TrainingEvent,
  TrainingGroup,
  TrainingJob,
} from './backend.ts';

export interface BackendContractParts {
  readonly backend: Backend;
  /** Starts it anew on the same folder and the same service. */
  readonly start: () => Promise<RunningBackend>;
  /** The name that it is started with. */
  readonly name: string;
}

const completion = z.looseObject({
  model: z.string(),
  prompt_token_ids: z.array(z.int()),
  choices: z.array(
    z.looseObject({
      token_ids: z.array(z.int()),
      message: z.looseObject({ content: z.string().nullish() }),
      logprobs: z.looseObject({ content: z.array(z.looseObject({ logprob: z.number() })) }),
    }),
  ),
});

interface Answer {
  readonly model: string;
  readonly text: string;
  readonly promptIds: number[];
  readonly ids: number[];
  readonly logprobs: number[];
}

const question = { role: 'user', content: 'Just respond with yes, no or maybe' } as const;

/** Asks a policy as an adapter does. */
async function ask(
  running: RunningBackend,
  policy: PolicyTarget,
  more: object = { temperature: 0 },
): Promise<Answer> {
  const { baseUrl, apiKey, model } = await running.endpoint(policy);
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [question],
      max_tokens: 6,
      logprobs: true,
      return_token_ids: true,
      ...more,
    }),
  });
  if (!response.ok) throw new Error(`HTTP ${String(response.status)}: ${await response.text()}`);
  const body = completion.parse(await response.json());
  const [choice] = body.choices;
  return {
    model: body.model,
    text: choice?.message.content ?? '',
    promptIds: body.prompt_token_ids,
    ids: choice?.token_ids ?? [],
    logprobs: choice?.logprobs.content.map((one) => one.logprob) ?? [],
  };
}

function toCall(answer: Answer): ModelCall {
  const call = aCall({ promptIds: answer.promptIds, completionIds: answer.ids });
  return {
    ...call,
    request: { ...call.request, messages: [question] },
    response: { message: { role: 'assistant', content: answer.text }, finishReason: 'stop', usage: {} },
    tokens: {
      promptIds: answer.promptIds,
      completionIds: answer.ids,
      logprobs: answer.logprobs,
      logprobsMode: 'raw',
    },
  };
}

/** A group of sampled answers, every second of which is rewarded. */
async function rollOut(
  running: RunningBackend,
  policy: PolicyTarget,
  groupId: string,
): Promise<TrainingGroup> {
  const answers = await Promise.all(
    Array.from({ length: 4 }, (_, seed) => ask(running, policy, { temperature: 1, seed })),
  );
  return {
    groupId,
    members: answers.map((answer, index) => ({
      trajectory: aTrajectory({ scenario: groupId, events: [toCall(answer)] }),
      reward: index % 2,
      advantage: index % 2 === 0 ? -0.5 : 0.5,
    })),
  };
}

async function collect(events: AsyncIterable<TrainingEvent>): Promise<TrainingEvent[]> {
  const seen: TrainingEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

function endOf(events: readonly TrainingEvent[]): AdapterRef {
  const last = events.at(-1);
  if (last?.type !== 'ended') throw new Error(`The last event is ${String(last?.type)}.`);
  return last.adapter;
}

/** `setUp` runs once; what it gives is used by all tests, in their order. */
export function backendContract(
  name: string,
  setUp: () => Promise<BackendContractParts & { readonly tearDown: () => Promise<void> }>,
): void {
  describe(`${name} backend`, () => {
    let parts: Awaited<ReturnType<typeof setUp>>;
    let running: RunningBackend;
    let first: AdapterRef;
    let second: AdapterRef;
    let jobs = 0;

    beforeAll(async () => {
      parts = await setUp();
      running = await parts.start();
    });
    afterAll(async () => {
      await running.close();
      await parts.tearDown();
    });

    async function makeJob(
      step: number,
      parent: AdapterRef | null,
      policy: PolicyTarget,
    ): Promise<TrainingJob> {
      jobs += 1;
      return {
        jobId: `contract-${String(jobs)}`,
        name: parts.name,
        step,
        parent,
        groups: [
          await rollOut(running, policy, `g${String(jobs)}a`),
          await rollOut(running, policy, `g${String(jobs)}b`),
        ],
        optimizer: { learningRate: 1e-2 },
      };
    }

    const steps = async (): Promise<number[]> => (await running.adapters()).map((one) => one.step);

    it('refuses an option that it cannot honour, by name, before anything runs', () => {
      for (const [options, field] of [
        [{ loss: { kind: 'reinforce' } }, /"loss\.kind"/],
        [{ optimizer: { learningRate: -1 } }, /"optimizer\.learningRate".*-1/],
        [{ optimizer: { momentum: 0.9 } }, /optimizer/],
      ] as const) {
        expect(() => {
          parts.backend.validate(options as Parameters<Backend['validate']>[0]);
        }).toThrow(field);
      }
      parts.backend.validate({
        loss: {
          kind: 'ppo',
          clipLow: 0.2,
          clipHigh: 0.3,
          importanceSampling: 'sequence',
          klCoefficient: 0.1,
        },
        optimizer: { learningRate: 1e-5 },
        advantages: { scaleByStandardDeviation: true },
        concurrency: 16,
      });
    });

    it('answers as the base model before anything is trained, with token ids and logprobs', async () => {
      expect(await steps()).toEqual([]);
      const { ids, logprobs, promptIds } = await ask(running, 'base');
      expect(promptIds.length).toBeGreaterThan(0);
      expect(ids.length).toBeGreaterThan(0);
      expect(logprobs).toHaveLength(ids.length);
    });

    it('trains groups, and tells: started, gradient steps, ended with the step that was made', async () => {
      const events = await collect(running.train(await makeJob(1, null, 'base')));
      expect(events[0]?.type).toBe('started');
      const gradientSteps = events.filter((event) => event.type === 'gradient-step');
      expect(gradientSteps.length).toBeGreaterThan(0);
      expect(gradientSteps.map((event) => event.index)).toEqual(gradientSteps.map((_, at) => at + 1));
      for (const event of gradientSteps) expect(event.metrics['grad_norm']).toBeGreaterThan(0);
      first = endOf(events);
      expect(first).toMatchObject({ name: parts.name, step: 1 });
      expect(await running.adapters()).toEqual([first]);
    });

    it('serves a step only once it was verified and published', async () => {
      await expect(running.endpoint(first)).rejects.toThrow(AdapterRefusedError);
      const canary = await running.publish(first);
      expect(canary.tokens).toBeGreaterThan(0);
      expect(canary.baseGap).toBeGreaterThan(0);
      const { model } = await running.endpoint(first);
      expect((await ask(running, first)).model).toBe(model);
      expect((await ask(running, 'base')).model).not.toBe(model);
    });

    it('goes on from its parent, and keeps serving the steps before', async () => {
      const before = await ask(running, first);
      second = endOf(await collect(running.train(await makeJob(2, first, first))));
      await running.publish(second);
      expect(await steps()).toEqual([1, 2]);
      const after = await ask(running, first);
      expect(after.ids).toEqual(before.ids);
      after.logprobs.forEach((logprob, at) => {
        expect(logprob).toBeCloseTo(before.logprobs[at] ?? 1, 3);
      });
      expect((await ask(running, second)).logprobs[0]).not.toBeCloseTo(before.logprobs[0] ?? 1, 4);
    });

    it('refuses to publish what is not there, and goes on serving', async () => {
      const missing = { ...second, step: 99, location: second.location.replace(/0*2$/, '99') };
      await expect(running.publish(missing)).rejects.toThrow(AdapterRefusedError);
      await expect(running.publish({ ...second, step: 7 })).rejects.toThrow(AdapterRefusedError);
      expect((await ask(running, second)).ids.length).toBeGreaterThan(0);
    });

    it('retires a step: requests in flight finish, new ones are refused, its weights stay', async () => {
      const inFlight = ask(running, first, { max_tokens: 64 });
      await running.endpoint(first);
      await running.retire(first);
      expect((await inFlight).ids.length).toBeGreaterThan(0);
      await expect(running.endpoint(first)).rejects.toThrow(`${policyId(first)} is not published`);
      expect(await steps()).toEqual([1, 2]);
      await running.publish(first);
      expect((await ask(running, first)).ids.length).toBeGreaterThan(0);
    });

    it('fails a job without anything to train on, and makes no step', async () => {
      const job = await makeJob(3, second, second);
      const groups = job.groups.map(({ groupId, members }) => ({
        groupId,
        members: members.map((member) => ({
          ...member,
          trajectory: { ...member.trajectory, events: member.trajectory.events.map(untrainable) },
        })),
      }));
      await expect(collect(running.train({ ...job, groups }))).rejects.toThrow(TrainingFailedError);
      expect(await steps()).toEqual([1, 2]);
    });

    it('leaves a job that is aborted, and ends it by its id later: one step, not two', async () => {
      const job = await makeJob(3, second, second);
      const abort = new AbortController();
      const left = async (): Promise<void> => {
        for await (const event of running.train(job, abort.signal))
          if (event.type === 'started') abort.abort();
      };
      await expect(left()).rejects.toThrow(AbortedError);
      const third = endOf(await collect(running.train(job)));
      expect(third.step).toBe(3);
      expect(await steps()).toEqual([1, 2, 3]);
      // Also after a restart, the same job is the same step.
      await running.close();
      running = await parts.start();
      expect(endOf(await collect(running.train(job)))).toEqual(third);
      expect(await steps()).toEqual([1, 2, 3]);
    });

    it('publishes after a restart what was trained before', async () => {
      await expect(running.endpoint(second)).rejects.toThrow(AdapterRefusedError);
      await running.publish(second);
      expect((await ask(running, second)).ids.length).toBeGreaterThan(0);
    });

    it('is closed for good, however often', async () => {
      await running.close();
      await running.close();
      await expect(running.endpoint('base')).rejects.toThrow(BackendUnavailableError);
    });
  });
}

function untrainable<T extends object>(event: T): T {
  return { ...event, trainability: { trainable: false, reason: 'temperature-not-1' } };
}
