import { z } from 'zod';
import type { LoraOptions, LossOptions, OptimizerOptions } from '../backends/backend.ts';
import { InvalidOptionError } from '../errors.ts';
import type { Scenario } from '../rewards/reward.ts';
import type { RewardEntry } from '../rewards/scorer.ts';
import type { LiveMeans, Rollout, RolloutLimits } from './rollouts/rollout.ts';
import type { AfterEach } from './rollouts/run-rollouts.ts';

export interface TrainOptions<S extends Scenario, R> {
  /** What to learn on. Ids must differ. */
  readonly scenarios: readonly S[];
  /** What is never trained on; evaluated before, after and every `evaluateEvery` steps. */
  readonly heldOut?: readonly S[];
  readonly rollout: Rollout<S, R>;
  /** What a rollout is worth: `Σ weight · value`. Rewards of a group (RULER) compare its members. */
  readonly rewards: readonly RewardEntry<S, R>[];
  /**
   * What evaluations go by. Default: as `rewards`; rewards of a group say nothing there, because each held-out scenario is
   * attempted once.
   */
  readonly evaluationRewards?: readonly RewardEntry<S, R>[];
  /** Called with each group once it is complete; giving `'drop'` leaves it out of the step. */
  readonly afterEach?: AfterEach;
  /**
   * Whether rollouts that an interrupted run has finished count for the step that it was at. Set it to false for one call
   * after changing the agent or what a reward computes. Default: true.
   */
  readonly reuseRollouts?: boolean;
  /** Steps to reach in all, those of earlier runs included. Default: 10. */
  readonly steps?: number;
  /** Scenarios for one step. Default: 16. */
  readonly groupsPerStep?: number;
  /** Rollouts of each scenario. Default: 8. */
  readonly groupSize?: number;
  /** 0: only before and after. Default: 0. */
  readonly evaluateEvery?: number;
  /** The total reward from which a rollout counts as a success. Default: 1. */
  readonly successAt?: number;
  /** Default: false (Dr. GRPO, arXiv 2503.20783). */
  readonly scaleByStandardDeviation?: boolean;
  readonly seed?: number;
  /** `limits.budget` is for one call of `train`; training that it stops goes on with the next call. */
  readonly limits?: RolloutLimits<S>;
  readonly loss?: LossOptions;
  readonly optimizer?: OptimizerOptions;
  readonly lora?: LoraOptions;
  /** Ends the work between two of its parts; what is published stays. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: RolloutProgress) => void;
}

export interface RolloutProgress {
  readonly stage: 'evaluation' | 'rollout' | 'training' | 'swap';
  readonly step: number;
  readonly done: number;
  readonly of: number;
  /** While rolling out and evaluating. */
  readonly live?: LiveMeans;
}

const numbers = z.object({
  steps: z.int().min(1).default(10),
  groupsPerStep: z.int().min(1).default(16),
  groupSize: z.int().min(2).default(8),
  evaluateEvery: z.int().min(0).default(0),
  successAt: z.number().default(1),
  scaleByStandardDeviation: z.boolean().default(false),
  seed: z.int().min(0).default(0),
});

const tries = z.int().min(1).optional();
const limits = z.object({
  concurrency: z.int().min(1).optional(),
  hosts: z
    .object({
      of: z.custom((value) => typeof value === 'function', 'a function'),
      concurrency: z.int().min(1),
    })
    .optional(),
  timeoutMs: z.int().min(1).optional(),
  errorBudget: z.number().min(0).max(1).optional(),
  retry: z
    .object({
      tries: z
        .object({ 'rate-limited': tries, transient: tries, 'timed-out': tries, failed: tries })
        .optional(),
      delayMs: z.number().min(0).optional(),
      maxDelayMs: z.number().min(0).optional(),
    })
    .optional(),
  budget: z
    .object({ tokens: z.number().positive().optional(), usd: z.number().positive().optional() })
    .optional(),
});

/** Throws InvalidOptionError. */
export function checkLimits(given: unknown): void {
  parseWith(limits, given ?? {}, 'limits');
}

export type TrainNumbers = z.infer<typeof numbers>;

/** Checks every option of `train`; throws InvalidOptionError with the field, the value received and the fix. */
export function parseTrainOptions<S extends Scenario, R>(options: TrainOptions<S, R>): TrainNumbers {
  checkScenarios('scenarios', options.scenarios);
  if (options.scenarios.length === 0) {
    throw new InvalidOptionError({
      field: 'scenarios',
      received: [],
      expected: 'at least one scenario',
      fix: 'Pass the tasks to learn on, each with an id.',
    });
  }
  const heldOut = options.heldOut ?? [];
  checkScenarios('heldOut', heldOut);
  const trained = new Set(options.scenarios.map((scenario) => scenario.id));
  const leaked = heldOut.find((scenario) => trained.has(scenario.id));
  if (leaked !== undefined) {
    throw new InvalidOptionError({
      field: 'heldOut',
      received: leaked.id,
      expected: 'a list that shares no scenario with `scenarios`',
      fix: 'Take it out of one of the two: a held-out scenario that is trained on proves nothing.',
    });
  }
  checkLimits(options.limits);
  checkEvaluation(options, heldOut.length);
  return parseWith(numbers, options, '');
}

function checkEvaluation<S extends Scenario, R>(options: TrainOptions<S, R>, heldOut: number): void {
  const scopes = (options.evaluationRewards ?? options.rewards).map((entry) =>
    'reward' in entry ? entry.reward.scope : entry.scope,
  );
  if (heldOut === 0 || scopes.length === 0 || scopes.includes('trajectory')) return;
  throw new InvalidOptionError({
    field: 'evaluationRewards',
    received: options.evaluationRewards,
    expected: 'given where no reward scores a rollout by itself and there are held-out scenarios',
    fix: 'Pass a codeReward, a rubricJudge or a pairwiseJudge; or leave `heldOut` out.',
  });
}

export function checkScenarios(field: string, scenarios: readonly Scenario[]): void {
  const seen = new Set<string>();
  for (const [index, scenario] of scenarios.entries()) {
    const at = `${field}[${String(index)}].id`;
    if (typeof scenario.id !== 'string' || scenario.id === '') {
      throw new InvalidOptionError({
        field: at,
        received: scenario.id,
        expected: 'a non-empty string',
        fix: 'Give each scenario a stable id.',
      });
    }
    if (seen.has(scenario.id)) {
      throw new InvalidOptionError({
        field: at,
        received: scenario.id,
        expected: 'different from all the others',
        fix: 'Groups hang on the id: make it unique.',
      });
    }
    seen.add(scenario.id);
  }
}

/** zod's first issue as our typed error. */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown, root: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = [root, ...(issue?.path ?? []).map(String)].filter((part) => part !== '').join('.');
  throw new InvalidOptionError({
    field: path,
    received: valueAt(value, issue?.path ?? []),
    expected: issue?.message.replace(/^Invalid input: expected /, 'a ') ?? 'valid',
    fix: 'See the docstring of this option for its range and default.',
    cause: parsed.error,
  });
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
}
