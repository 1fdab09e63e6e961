/** A recorder that routes everything to a scripted model server, for tests. */
import type { AdapterHost } from '../src/adapters/ai-sdk/index.ts';
import { FaultCounter } from '../src/capture/faults.ts';
import { Recorder } from '../src/capture/recorder.ts';
import type { Route } from '../src/capture/route.ts';
import type { ModelCall, Trajectory } from '../src/index.ts';
import {
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectRequest,
  type DialectServer,
} from '../src/testing/openai-dialect-server.ts';

export const policy = 'agent@3';

export interface PolicyHost extends AdapterHost {
  readonly server: DialectServer;
  /** Closes open runs and gives what was recorded. */
  finished(): readonly Trajectory[];
  /** The model calls of the only trajectory. */
  calls(): readonly ModelCall[];
  close(): Promise<void>;
}

export async function startPolicyHost(
  answers: readonly DialectAnswer[] | ((request: DialectRequest, index: number) => DialectAnswer),
  onFailure: 'throw' | 'incumbent' = 'throw',
): Promise<PolicyHost> {
  const server = await startOpenAIDialectServer(
    typeof answers === 'function'
      ? answers
      : (_, index) => answers[index] ?? { kind: 'status', status: 400, message: 'no further answer' },
  );
  const route: Route = {
    kind: 'policy',
    policy,
    step: 3,
    propensity: 1,
    onFailure,
    endpoint: () =>
      Promise.resolve({
        baseUrl: server.baseUrl,
        apiKey: 'secret-of-the-policy',
        identity: {
          baseModel: 'base',
          baseDigest: 'sha256:base',
          tokenizerDigest: 'sha256:tokenizer',
          chatTemplateDigest: 'sha256:template',
          contextLength: 4096,
        },
      }),
  };
  const finished: Trajectory[] = [];
  const recorder = new Recorder({
    project: 'test',
    name: 'agent',
    router: { choose: () => route },
    faults: new FaultCounter(),
    graceMs: 5,
    sink: {
      accept: (trajectory) => finished.push(trajectory),
      reward: () => undefined,
      flush: () => Promise.resolve({ complete: true }),
      counters: () => ({ accepted: 0, stored: 0, dropped: {}, queued: 0, queuedBytes: 0, faults: {} }),
      close: () => Promise.resolve(),
    },
  });
  const all = () => {
    recorder.finishAll();
    return finished;
  };
  return {
    recorder,
    server,
    finished: all,
    calls: () => {
      const [trajectory, ...more] = all();
      if (trajectory === undefined || more.length > 0)
        throw new Error(`There are ${String(finished.length)} trajectories.`);
      return trajectory.events.filter((event) => event.kind === 'model-call');
    },
    close: () => server.close(),
  };
}
