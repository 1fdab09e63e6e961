/** The reward contract: turns one finished rollout into a number, or into nothing. Missing is not 0. */
import type { Reward, Trajectory } from '../trajectory/records.ts';

/** A task that a rollout attempts. Its id is stable across runs: groups and splits hang on it. */
export interface Scenario {
  readonly id: string;
}

export interface RewardInput<S extends Scenario, R> {
  readonly scenario: S;
  /** What the rollout function returned. */
  readonly result: R;
  readonly trajectory: Trajectory;
  readonly signal: AbortSignal;
}

export interface RewardValue {
  readonly value: number;
  readonly explanation?: string;
}

/** Named, so that it can be told apart in the store, in reports and in a weighted sum. */
export interface RewardFunction<S extends Scenario = Scenario, R = unknown> {
  readonly name: string;
  readonly source: Reward['source'];
  /** undefined: this reward says nothing about this rollout. */
  score(input: RewardInput<S, R>): Promise<RewardValue | undefined>;
}
