/** One try of one rollout: the agent, run within its time limit, as a trajectory. */
import type { Recorder } from '../../capture/recorder.ts';
import type { Scenario } from '../../rewards/reward.ts';
import type { Split, Trajectory } from '../../trajectory/records.ts';
import type { Rollout, RolloutTask } from './rollout.ts';

export type Tried<R> =
  | { readonly status: 'finished'; readonly trajectory: Trajectory; readonly result: R }
  | { readonly status: 'failed'; readonly trajectory: Trajectory; readonly error: unknown }
  | { readonly status: 'timed-out' | 'aborted'; readonly trajectory: Trajectory };

/** Never throws for what the agent does: a bad rollout is data. */
export async function tryOnce<S extends Scenario, R>(options: {
  readonly task: RolloutTask<S>;
  readonly split: Split;
  readonly rollout: Rollout<S, R>;
  readonly recorder: Recorder;
  readonly timeoutMs: number;
  /** Of the whole batch. */
  readonly signal: AbortSignal;
}): Promise<Tried<R>> {
  const { task, split, rollout, recorder, timeoutMs, signal: whole } = options;
  const { scenario, groupId, attempt } = task;
  const run = recorder.startRun({ scenario: scenario.id, groupId, split });
  const signal = AbortSignal.any([whole, AbortSignal.timeout(timeoutMs)]);
  const ended = await settle(() => run.scope(() => rollout(scenario, { signal, attempt, split })), signal);
  // Sub-agents with runs of their own belong to this rollout and end with it.
  recorder.finishChildren(run);
  switch (ended.status) {
    case 'finished':
      return { ...ended, trajectory: run.finish({ status: 'finished' }) };
    case 'failed':
      return { ...ended, trajectory: run.finish({ status: 'failed', error: describe(ended.error) }) };
    case 'timed-out':
    case 'aborted':
      return { ...ended, trajectory: run.finish({ status: ended.status }) };
    default:
      return ended satisfies never;
  }
}

type Ended<R> =
  | { readonly status: 'finished'; readonly result: R }
  | { readonly status: 'failed'; readonly error: unknown }
  | { readonly status: 'timed-out' | 'aborted' };

/** Waits for the agent, but not longer than the signal: an agent that ignores it does not hold the batch. */
async function settle<R>(start: () => Promise<R>, signal: AbortSignal): Promise<Ended<R>> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<Ended<R>>((resolve) => {
    onAbort = () => {
      const timedOut = signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError';
      resolve({ status: timedOut ? 'timed-out' : 'aborted' });
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
  });
  const finished = (async (): Promise<Ended<R>> => {
    try {
      return { status: 'finished', result: await start() };
    } catch (error) {
      return { status: 'failed', error };
    }
  })();
  try {
    return await Promise.race([aborted, finished]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

function describe(error: unknown): { readonly name: string; readonly message: string } {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
  return { name, message };
}
