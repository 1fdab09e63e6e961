/** What a rollout is: the user's agent, run once on a scenario, and what became of it. */
import type { Scenario } from '../../rewards/reward.ts';
import type { PartialScore, Score } from '../../rewards/score.ts';
import type { Split, Trajectory } from '../../trajectory/records.ts';
import type { RetryOptions } from './retry.ts';

export interface RolloutContext {
  /** Ends at the time limit, and when the whole training is aborted. Pass it to the agent's calls. */
  readonly signal: AbortSignal;
  /** Which member of its group this is, from 0. */
  readonly attempt: number;
  readonly split: Split;
}

/** Runs the agent once. What it returns is given to the rewards. */
export type Rollout<S extends Scenario, R> = (scenario: S, context: RolloutContext) => Promise<R>;

export interface RolloutLimits<S extends Scenario = Scenario> {
  /** Rollouts at a time. Default: 16. */
  readonly concurrency?: number;
  /** Of those, how many at a time on one host: a sandbox, a browser, an API that the agent's tools call. */
  readonly hosts?: { readonly of: (scenario: S) => string; readonly concurrency: number };
  /** Milliseconds for one try of a rollout. Default: 120 000. */
  readonly timeoutMs?: number;
  /** Share of a batch's rollouts that may fail, after their retries, before the batch is given up. Default: 0.1. */
  readonly errorBudget?: number;
  /** What is tried again, and how often. */
  readonly retry?: RetryOptions;
  /** What the rollouts may use up before no more are started. What runs then is finished, and nothing is lost. */
  readonly budget?: RolloutSpending;
}

export interface RolloutSpending {
  /** Tokens of prompts and answers together, all tries included. */
  readonly tokens?: number;
  /** US dollars, of calls whose price is known. */
  readonly usd?: number;
}

export const defaultLimits = { concurrency: 16, timeoutMs: 120_000, errorBudget: 0.1 } as const;

export interface RolloutTask<S extends Scenario> {
  readonly scenario: S;
  readonly groupId: string;
  readonly attempt: number;
}

export interface FinishedRollout {
  readonly groupId: string;
  readonly scenarioId: string;
  readonly attempt: number;
  /** Of the try that counts. */
  readonly trajectory: Trajectory;
  readonly tries: number;
  /** Found in the store: an earlier run, which was interrupted, had done it. */
  readonly resumed: boolean;
  readonly score: Score;
}

/** A rollout whose group is not complete yet. */
export type UnscoredRollout = Omit<FinishedRollout, 'score'> & { readonly partial: PartialScore };

/** All attempts at one scenario. */
export interface FinishedGroup {
  readonly groupId: string;
  readonly scenarioId: string;
  readonly rollouts: readonly FinishedRollout[];
}

/** Means over what is finished so far. */
export interface LiveMeans {
  readonly finished: number;
  readonly failed: number;
  /** Tries beyond the first. */
  readonly retries: number;
  readonly resumed: number;
  /** Of the rewards that are known; NaN as long as there are none. */
  readonly reward: number;
  /** By name of the reward. */
  readonly components: Readonly<Record<string, number>>;
  readonly outputTokens: number;
  readonly seconds: number;
  /** Sums, all tries included. */
  readonly spent: { readonly tokens: number; readonly usd: number };
}
