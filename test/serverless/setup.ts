/** The serverless backend against the stand-in without a model: for tests of what the client does. */
import type { AdapterRef, TrainingEvent, TrainingGroup, TrainingJob } from '../../src/backends/backend.ts';
import {
  serverlessBackend,
  type RunningServerlessBackend,
  type ServerlessBackendOptions,
} from '../../src/backends/serverless/index.ts';
import { aCall, aTrajectory } from '../../src/testing/records.ts';
import {
  scriptedEngine,
  startWandbServer,
  type ScriptedEngine,
  type WandbServer,
} from '../../src/testing/wandb-server/index.ts';
import { freshFolder } from '../recording.ts';

export interface Setup {
  readonly server: WandbServer;
  readonly engine: ScriptedEngine;
  readonly folder: string;
  start(options?: ServerlessBackendOptions): Promise<RunningServerlessBackend>;
  /** Requests to the training API of one method whose path ends so. */
  count(method: string, ending: string): number;
  close(): Promise<void>;
}

export const key = 'wandb-key-0123456789abcdef';

export async function setUp(): Promise<Setup> {
  const engine = scriptedEngine();
  const server = await startWandbServer({ engine, apiKey: key });
  const folder = await freshFolder();
  const { trainingUrl, wandbUrl } = server;
  return {
    server,
    engine,
    folder,
    start: (options = {}) =>
      serverlessBackend({
        apiKey: key,
        trainingUrl,
        wandbUrl,
        pollMs: 5,
        retryDelayMs: 1,
        checkpointTimeoutMs: 150,
        stallTimeoutMs: 250,
        ...options,
      }).start({ project: 'shop', name: 'desk', baseModel: 'scripted/base', folder }),
    count: (method, ending) =>
      server.requests.filter(
        (one) => one.method === method && one.path.split('?')[0]?.endsWith(ending) === true,
      ).length,
    close: () => server.close(),
  };
}

export function aGroup(rewards: readonly number[], groupId = 'g'): TrainingGroup {
  const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
  return {
    groupId,
    members: rewards.map((reward) => ({
      trajectory: aTrajectory({ scenario: groupId, events: [aCall({})] }),
      reward,
      advantage: reward - mean,
    })),
  };
}

export function aJob(step: number, parent: AdapterRef | null = null, groups = [aGroup([0, 1])]): TrainingJob {
  return { jobId: `job-${String(step)}`, name: 'desk', step, parent, groups };
}

export async function collect(events: AsyncIterable<TrainingEvent>): Promise<TrainingEvent[]> {
  const seen: TrainingEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

/** The step that a job made. */
export async function endOf(events: AsyncIterable<TrainingEvent>): Promise<AdapterRef> {
  const last = (await collect(events)).at(-1);
  if (last?.type !== 'ended') throw new Error(`The last event is ${String(last?.type)}.`);
  return last.adapter;
}
