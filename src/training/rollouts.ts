/**
 * Rollouts: the user's agent, run on scenarios, many at a time, each within a time limit. A bad rollout is data, not a
 * crash; only when more fail than the error budget allows does the whole batch stop.
 */
import pLimit from 'p-limit';
import { AbortedError, RolloutBudgetExceededError } from '../errors.ts';
import type { Recorder } from '../capture/recorder.ts';
import type { Scenario } from '../rewards/reward.ts';
import type { Score, Scorer } from '../rewards/score.ts';
import type { Split, Trajectory } from '../trajectory/records.ts';

export interface RolloutContext {
  /** Ends at the time limit, and when the whole training is aborted. Pass it to the agent's calls. */
  readonly signal: AbortSignal;
  /** Which member of its group this is, from 0. */
  readonly attempt: number;
  readonly split: Split;
}

/** Runs the agent once. What it returns is given to the rewards. */
export type Rollout<S extends Scenario, R> = (scenario: S, context: RolloutContext) => Promise<R>;

export interface RolloutLimits {
  /** Rollouts at a time. Default: 16. */
  readonly concurrency?: number;
  /** Milliseconds for one rollout. Default: 120 000. */
  readonly timeoutMs?: number;
  /** Share of a batch's rollouts that may fail before the batch is given up. Default: 0.1. */
  readonly errorBudget?: number;
}

export const defaultLimits = { concurrency: 16, timeoutMs: 120_000, errorBudget: 0.1 } as const;

export interface RolloutTask<S extends Scenario> {
  readonly scenario: S;
  readonly groupId: string;
  readonly attempt: number;
}

export interface FinishedRollout {
  readonly groupId: string;
  readonly trajectory: Trajectory;
  readonly score: Score;
}

export interface RolloutBatch<S extends Scenario, R> {
  readonly tasks: readonly RolloutTask<S>[];
  readonly split: Split;
  readonly rollout: Rollout<S, R>;
  readonly scorer: Scorer<S, R>;
  readonly recorder: Recorder;
  readonly limits: RolloutLimits;
  readonly signal: AbortSignal | undefined;
  readonly onFinished: (done: number, of: number) => void;
}

/** All rollouts of the batch, in the order of its tasks. Throws RolloutBudgetExceededError, AbortedError. */
export async function runRollouts<S extends Scenario, R>(
  batch: RolloutBatch<S, R>,
): Promise<FinishedRollout[]> {
  const limits = { ...defaultLimits, ...batch.limits };
  const limit = pLimit(limits.concurrency);
  const stop = new AbortController();
  const signals = batch.signal === undefined ? [stop.signal] : [stop.signal, batch.signal];
  const allowed = Math.floor(limits.errorBudget * batch.tasks.length);
  let failures = 0;
  let done = 0;
  try {
    return await Promise.all(
      batch.tasks.map((task) =>
        limit(async () => {
          throwIfAborted(batch.signal);
          const signal = AbortSignal.any([...signals, AbortSignal.timeout(limits.timeoutMs)]);
          const finished = await runOne(batch, task, signal);
          throwIfAborted(batch.signal);
          const { outcome } = finished.trajectory;
          if (outcome.status !== 'finished' && ++failures > allowed)
            throw budgetExceeded(outcome, failures, batch);
          batch.onFinished(++done, batch.tasks.length);
          return finished;
        }),
      ),
    );
  } catch (error) {
    // The rest of the batch has no use any more: agents still running hear of it through their signal.
    limit.clearQueue();
    stop.abort(error);
    throw error;
  }
}

async function runOne<S extends Scenario, R>(
  batch: RolloutBatch<S, R>,
  task: RolloutTask<S>,
  signal: AbortSignal,
): Promise<FinishedRollout> {
  const { scenario, groupId, attempt } = task;
  const run = batch.recorder.startRun({ scenario: scenario.id, groupId, split: batch.split });
  const ended = await settle(
    () => run.scope(() => batch.rollout(scenario, { signal, attempt, split: batch.split })),
    signal,
  );
  if (ended.status !== 'finished') {
    const trajectory = run.finish(ended.outcome);
    return {
      groupId,
      trajectory,
      score: { status: 'missing', reason: `rollout ${ended.outcome.status}`, components: [] },
    };
  }
  const trajectory = run.finish({ status: 'finished' });
  const score = await batch.scorer.score({ scenario, result: ended.result, trajectory, signal });
  return { groupId, trajectory, score };
}

type Ended<R> =
  | { readonly status: 'finished'; readonly result: R }
  | { readonly status: 'failed'; readonly outcome: Exclude<Trajectory['outcome'], { status: 'finished' }> };

/** Waits for the agent, but not longer than the signal: an agent that ignores it does not hold the batch. */
async function settle<R>(start: () => Promise<R>, signal: AbortSignal): Promise<Ended<R>> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<Ended<R>>((resolve) => {
    onAbort = () => {
      const timedOut = signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError';
      resolve({ status: 'failed', outcome: { status: timedOut ? 'timed-out' : 'aborted' } });
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
  });
  const finished = (async (): Promise<Ended<R>> => {
    try {
      return { status: 'finished', result: await start() };
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      return { status: 'failed', outcome: { status: 'failed', error: { name, message } } };
    }
  })();
  try {
    return await Promise.race([aborted, finished]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

function budgetExceeded(
  outcome: Trajectory['outcome'],
  failures: number,
  batch: { readonly tasks: readonly unknown[] },
): RolloutBudgetExceededError {
  const last =
    outcome.status === 'failed' ? `${outcome.error.name}: ${outcome.error.message}` : outcome.status;
  return new RolloutBudgetExceededError(
    `${String(failures)} of ${String(batch.tasks.length)} rollouts failed; the last one: ${last}.`,
    { fix: 'Mend the rollout function, or raise `limits.errorBudget` where such failures are expected.' },
  );
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new AbortedError('The batch of rollouts', signal.reason);
}
