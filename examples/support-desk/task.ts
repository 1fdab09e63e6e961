/** What a task gives to the demo: scenarios, the agent that works on them, and what is right. */
import type { Apprentice, Rollout, TrainingSettings } from 'apprentice';
import type { RewardFunction, Scenario } from 'apprentice/rewards';

export interface DemoTask<S extends Scenario, R> {
  /** Two lines at the top: what is learnt; the agent, the model and the method. */
  readonly title: string;
  readonly about: string;
  /** What a held-out scenario is, in the plural, and when it is a success. */
  readonly noun: string;
  readonly success: string;
  /** Of the adapters. */
  readonly name: string;
  makeScenarios(pool: 'train' | 'heldOut', count: number, random: () => number): S[];
  /** Makes the agent, on a model that `apprentice` has wrapped. */
  connect(apprentice: Apprentice): Rollout<S, R>;
  readonly reward: RewardFunction<S, R>;
  /** Scenarios of the training pool. */
  readonly poolSize: number;
  readonly groupsPerStep: number;
  readonly groupSize: number;
  readonly concurrency: number;
  readonly training: TrainingSettings;
}
