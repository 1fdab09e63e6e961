/** `apprentice.rollout`: rollouts without training, to collect groups, to compare agents, to look at a reward. */
import type { TrajectorySink } from '../../capture/capture.ts';
import type { Recorder } from '../../capture/recorder.ts';
import { InvalidOptionError } from '../../errors.ts';
import { rewardReport, type RewardReport } from '../../rewards/report/report.ts';
import type { Scenario } from '../../rewards/reward.ts';
import { weightedSum, type RewardEntry } from '../../rewards/scorer.ts';
import type { Store } from '../../store/store.ts';
import type { Split } from '../../trajectory/records.ts';
import { scoreRecords } from '../reward-records.ts';
import { checkLimits, checkScenarios } from '../settings.ts';
import { RolloutLedger } from './ledger.ts';
import type { LiveMeans, Rollout, RolloutLimits } from './rollout.ts';
import { runRollouts, type AfterEach, type RolloutsResult } from './run-rollouts.ts';

export interface RolloutOptions<S extends Scenario, R> {
  /** Names this run: the same id goes on where it was stopped or killed. Default: a run of its own, which does not. */
  readonly id?: string;
  readonly scenarios: readonly S[];
  readonly rollout: Rollout<S, R>;
  readonly rewards: readonly RewardEntry<S, R>[];
  /** Rollouts of each scenario. Default: 1. */
  readonly groupSize?: number;
  /** Default: 'train'. */
  readonly split?: Split;
  /** `limits.budget` is for the whole run, what was spent before it was stopped included. */
  readonly limits?: RolloutLimits<S>;
  readonly afterEach?: AfterEach;
  /** Ends the run; what is done stays done. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    readonly done: number;
    readonly of: number;
    readonly live: LiveMeans;
  }) => void;
}

export interface RolloutRun extends RolloutsResult {
  readonly runId: string;
  readonly report: RewardReport;
}

export interface CollectParts {
  readonly project: string;
  readonly name: string;
  readonly store: Store;
  readonly sink: TrajectorySink;
  readonly recorder: Recorder;
  readonly now: () => number;
  readonly newId: () => string;
}

/** Throws InvalidOptionError, RolloutBudgetExceededError, AbortedError, JudgeBudgetExceededError, StoreError. */
export async function collectRollouts<S extends Scenario, R>(
  parts: CollectParts,
  options: RolloutOptions<S, R>,
): Promise<RolloutRun> {
  const { groupSize = 1, split = 'train', limits = {}, onProgress, signal, afterEach } = options;
  checkScenarios('scenarios', options.scenarios);
  checkLimits(limits);
  if (!Number.isInteger(groupSize) || groupSize < 1) {
    throw new InvalidOptionError({
      field: 'groupSize',
      received: groupSize,
      expected: 'a whole number of at least 1',
      fix: 'Leave it out for 1.',
    });
  }
  const scorer = weightedSum(options.rewards);
  const { project, name, store, sink, recorder, now } = parts;
  // Scores of other rewards do not count for these.
  const runId = [project, name, 'rollout', options.id ?? parts.newId(), scorer.fingerprint].join('/');
  const tasks = options.scenarios.flatMap((scenario) =>
    Array.from({ length: groupSize }, (_, attempt) => ({
      scenario,
      groupId: `${runId}/${scenario.id}`,
      attempt,
    })),
  );
  const result = await runRollouts({
    tasks,
    split,
    rollout: options.rollout,
    scorer,
    recorder,
    ledger: new RolloutLedger({ runId, store, sink }),
    limits,
    signal,
    onFinished: (done, of, live) => onProgress?.({ done, of, live }),
    afterEach,
    now,
  });
  const scored = result.rollouts.map(({ trajectory, score }) => ({
    trajectory,
    rewards: scoreRecords(trajectory, score, now()),
    feedback: [],
  }));
  return { ...result, runId, report: rewardReport(scored) };
}
