/** What training tells of itself as it goes. */
import type { AdapterRef, CanaryReport } from '../backends/backend.ts';
import type { Evaluation } from './evaluation.ts';
import type { LiveMeans } from './rollouts/rollout.ts';

export interface StepReport {
  readonly type: 'step';
  /** The step that is served now. */
  readonly step: number;
  readonly meanReward: number;
  readonly rollouts: number;
  readonly groups: number;
  readonly groupsWithSignal: number;
  readonly trainedTokens: number;
  /** Trained tokens whose id is not the one that was sampled there. */
  readonly mismatchedTokens: number;
  /** |trainer − sampler| in nats over the trained tokens, before the first gradient step; null: the backend tells none. */
  readonly logprobGap: { readonly mean: number; readonly max: number } | null;
  readonly canary: CanaryReport;
  readonly adapter: AdapterRef;
  readonly metrics: Readonly<Record<string, number>>;
  readonly seconds: { readonly rollout: number; readonly training: number; readonly swap: number };
  readonly skipped: Readonly<Record<string, number>>;
}

export type TrainEvent =
  | { readonly type: 'resumed'; readonly step: number; readonly redone: boolean }
  | { readonly type: 'evaluation'; readonly step: number; readonly evaluation: Evaluation }
  /** All groups of a draw had equal rewards: nothing to train on, another draw follows. */
  | {
      readonly type: 'no-signal';
      readonly step: number;
      readonly meanReward: number;
      readonly groups: number;
    }
  /** The budget is used up. Nothing is lost: the next call of `train` goes on here. */
  | {
      readonly type: 'stopped';
      readonly reason: 'budget';
      readonly step: number;
      /** Rollouts of this step or evaluation that are left to do. */
      readonly remaining: number;
      readonly spent: LiveMeans['spent'];
    }
  | StepReport;
