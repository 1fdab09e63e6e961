/** The reward contract: turns finished rollouts into numbers, or into nothing. Missing is not 0. */
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

/** Without what the rollout function returned: a group may be scored after a restart, or be recorded traffic. */
export interface GroupRewardInput {
  readonly scenario: Scenario;
  /** At least two. */
  readonly trajectories: readonly Trajectory[];
  readonly signal: AbortSignal;
}

export interface RewardValue {
  readonly value: number;
  readonly explanation?: string;
  /** Figures beside the value: votes, agreement … */
  readonly details?: Readonly<Record<string, number>>;
}

export interface CallRewardValue extends RewardValue {
  /** The `id` of a model call in the trajectory. */
  readonly callId: string;
}

interface Named {
  /** Tells it apart in the store, in reports and in a sum. */
  readonly name: string;
  readonly source: Reward['source'];
}

/**
 * Scores one trajectory as a whole. Of `<never, never>` is one that looks at the trajectory alone: it fits every scenario,
 * and says nothing about the types of the others in a list.
 */
export interface RewardFunction<S extends Scenario = Scenario, R = unknown> extends Named {
  readonly scope: 'trajectory';
  /** undefined: this reward says nothing about this rollout. */
  score(input: RewardInput<S, R>): Promise<RewardValue | undefined>;
}

/** Scores single model calls; each value is for what that call, and those after it, made of the task. */
export interface CallReward<S extends Scenario = Scenario, R = unknown> extends Named {
  readonly scope: 'call';
  scoreCalls(input: RewardInput<S, R>): Promise<readonly CallRewardValue[]>;
}

/** Scores the attempts at one scenario against each other. Its values mean nothing across groups. */
export interface GroupReward extends Named {
  readonly scope: 'group';
  /** One for each trajectory, in their order; undefined where it says nothing. */
  scoreGroup(input: GroupRewardInput): Promise<readonly (RewardValue | undefined)[]>;
}

export type AnyReward<S extends Scenario = Scenario, R = unknown> =
  RewardFunction<S, R> | CallReward<S, R> | GroupReward;
