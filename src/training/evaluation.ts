/** How good a policy is on scenarios that training never sees. */
import type { Recorder } from '../capture/recorder.ts';
import type { Scenario } from '../rewards/reward.ts';
import type { Scorer } from '../rewards/scorer.ts';
import type { Split } from '../trajectory/records.ts';
import type { RolloutLedger } from './rollouts/ledger.ts';
import type { LiveMeans, Rollout, RolloutLimits } from './rollouts/rollout.ts';
import { runRollouts, type RolloutsResult } from './rollouts/run-rollouts.ts';
import { meanWithInterval, proportion, type Mean, type Proportion } from './statistics.ts';

export interface EvaluationRequest<S extends Scenario, R> {
  /** Names this evaluation's trajectories in the store, for instance `before`. */
  readonly label: string;
  readonly scenarios: readonly S[];
  readonly rollout: Rollout<S, R>;
  readonly scorer: Scorer<S, R>;
  /** The total reward from which a rollout counts as a success. Default: 1. */
  readonly successAt: number;
  readonly split: Split;
  readonly recorder: Recorder;
  readonly ledger: RolloutLedger;
  readonly limits: RolloutLimits<S>;
  readonly signal: AbortSignal | undefined;
  readonly onFinished: (done: number, of: number, live: LiveMeans) => void;
  readonly now: () => number;
}

export interface Evaluation {
  /** A rollout that failed or could not be scored counts as no success. */
  readonly success: Proportion;
  readonly reward: Mean;
  readonly missing: number;
  readonly seconds: number;
}

/** Runs the agent once on each scenario. Says the figures with their 95 % intervals; null where the budget ended it. */
export async function evaluate<S extends Scenario, R>(
  request: EvaluationRequest<S, R>,
): Promise<{ readonly evaluation: Evaluation | null; readonly result: RolloutsResult }> {
  const startedAt = performance.now();
  const tasks = request.scenarios.map((scenario) => ({
    scenario,
    groupId: `${request.label}/${scenario.id}`,
    attempt: 0,
  }));
  const result = await runRollouts({ ...request, tasks });
  if (result.stopped !== undefined) return { evaluation: null, result };
  const { rollouts } = result;
  const totals = rollouts.flatMap(({ score }) => (score.status === 'scored' ? [score.total] : []));
  const successes = totals.filter((total) => total >= request.successAt - 1e-9).length;
  const evaluation = {
    success: proportion(successes, rollouts.length),
    reward: meanWithInterval(totals),
    missing: rollouts.length - totals.length,
    seconds: (performance.now() - startedAt) / 1000,
  };
  return { evaluation, result };
}
