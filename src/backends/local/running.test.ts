import { describe, expect, it } from 'vitest';
import { TrainingFailedError } from '../../errors.ts';
import { aCall, aTrajectory } from '../../testing/records.ts';
import type { TrainingEvent, TrainingJob } from '../backend.ts';
import { SidecarClient, type Health } from './client.ts';
import { PublishedAdapters } from './published.ts';
import { RunningLocalBackend } from './running.ts';
import { sameMachine } from './same-machine.ts';

type Answer = (path: string) => Response;

/** A backend on one life of a sidecar, which gives `answers` one after the other, then the last one again. */
function backendOn(...answers: readonly Answer[]): { backend: RunningLocalBackend; asked: string[] } {
  const asked: string[] = [];
  const left = [...answers];
  const client = new SidecarClient({
    baseUrl: 'http://sidecar',
    token: 'token',
    fetch: (input) => {
      const path = new URL(input instanceof Request ? input.url : input).pathname;
      if (path === '/training/jobs') return Promise.resolve(Response.json({}, { status: 202 }));
      asked.push(path);
      const answer = left.length > 1 ? left.shift() : left[0];
      return Promise.resolve(answer?.(path) ?? Response.error());
    },
  });
  const health = { instance: 'one', context_length: 1024 } as Health;
  const sidecar = { client, health, baseUrl: 'http://sidecar', token: 'token' };
  const host = {
    process: () => Promise.resolve(sidecar),
    published: new PublishedAdapters(),
    close: () => Promise.resolve(),
  };
  const context = { project: 'p', name: 'desk', baseModel: 'tiny', folder: '/data' };
  const transfer = sameMachine('/data');
  return { backend: new RunningLocalBackend(context, { host, transfer, loraTargets: null }), asked };
}

const events =
  (...all: readonly object[]): Answer =>
  () =>
    new Response(
      all.map((event, index) => `data: ${JSON.stringify({ seq: index + 1, ...event })}\n\n`).join(''),
    );
const failed = (code: string): Answer =>
  events(
    { type: 'started', rows: 1, tokens: 4, trained_tokens: 2 },
    { type: 'failed', error: { code, message: 'It failed.', fix: 'Mend it.' } },
  );
const ended = events({
  type: 'ended',
  adapter: { name: 'desk', step: 1, folder: '/data/models/desk/adapters/0001', digest: 'sha256:1' },
  metrics: {},
});

const call = aCall({ promptIds: [1, 2], completionIds: [3, 4] });
const job: TrainingJob = {
  jobId: 'job',
  name: 'desk',
  step: 1,
  parent: null,
  groups: [
    {
      groupId: 'g',
      members: [{ trajectory: aTrajectory({ events: [call] }), reward: 1, advantage: 1 }],
    },
  ],
};

async function train(backend: RunningLocalBackend): Promise<TrainingEvent['type'][]> {
  const told: TrainingEvent['type'][] = [];
  for await (const event of backend.train(job)) told.push(event.type);
  return told;
}

describe('a job', () => {
  it.each(['handover_refused', 'serving_lost'])('that failed by %s is submitted again', async (code) => {
    const { backend } = backendOn(failed(code), ended);
    expect(await train(backend)).toEqual(['started', 'ended']);
  });

  it('that failed by itself is not', async () => {
    const { backend } = backendOn(failed('not_finite'), ended);
    await expect(train(backend)).rejects.toThrow(TrainingFailedError);
  });
});

describe('a step', () => {
  const adapter = { name: 'desk', step: 1, location: '/data/models/desk/adapters/0001', version: 'sha256:1' };
  const refusal = (status: number, code: string): Answer => {
    return () => Response.json({ error: { message: 'No.', code } }, { status });
  };
  const published: Answer = () =>
    Response.json({ canary: { tokens: 1, mean_gap: 0, max_gap: 0, base_gap: 1 } });

  it('is published again where what serves died under it', async () => {
    const { backend, asked } = backendOn(refusal(503, 'engine_failed'), published);
    expect(await backend.publish(adapter)).toMatchObject({ against: 'trainer', baseGap: 1 });
    expect(asked).toHaveLength(2);
  });

  it('is not where it was refused', async () => {
    const { backend, asked } = backendOn(refusal(422, 'adapter_invalid'), published);
    await expect(backend.publish(adapter)).rejects.toThrow('No.');
    expect(asked).toHaveLength(1);
  });
});
