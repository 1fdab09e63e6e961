/** The options of `serverlessBackend` and what the service can be asked to train with. */
import { z } from 'zod';
import { InvalidOptionError } from '../../errors.ts';
import type { Backend, TrainingSettings } from '../backend.ts';

export interface ServerlessBackendOptions {
  /** Default: `WANDB_API_KEY`. Sent to the base URLs only; kept out of logs, errors, records and files. */
  readonly apiKey?: string;
  /** The team that pays. Default: the key's own. */
  readonly entity?: string;
  /** The project at W&B. Default: that of createApprentice. */
  readonly project?: string;
  /** Of the training API; a path of your own is kept. Default: 'https://forge.coreweave.com/api/training/v1'. */
  readonly trainingUrl?: string;
  /** Of inference. Default: `trainingUrl`, which serves every checkpoint, too. */
  readonly inferenceUrl?: string;
  /** Of W&B itself: artifacts and run metrics. Default: 'https://api.wandb.ai'. */
  readonly wandbUrl?: string;
  /** Settings of the service that this package has no word for, under its own names. */
  readonly config?: ServiceConfig;
  /** Where the figures of each step go. Default: 'wandb', the model's run. */
  readonly metrics?: 'wandb' | 'off';
  /** Milliseconds between two looks at a job's events. Default: 1000. */
  readonly pollMs?: number;
  /** Milliseconds without a new event after which a job counts as stuck; it can still be resumed. Default: 30 minutes. */
  readonly stallTimeoutMs?: number;
  /** Milliseconds for a finished job's checkpoint to appear in the list and to answer. Default: 2 minutes. */
  readonly checkpointTimeoutMs?: number;
  /** Milliseconds for one request. Default: 10 minutes. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds before a request is tried again, doubled each time. Default: 500. */
  readonly retryDelayMs?: number;
  /** Requests at a time, rollouts included; the service refuses more than 2000 for a user. Default: 2000. */
  readonly maxConcurrentRequests?: number;
}

/** Settings of `experimental_config` beside those that `train` has words for. */
export interface ServiceConfig {
  readonly importance_sampling_level?: 'average' | 'geometric_average';
  readonly max_negative_advantage_importance_sampling_weight?: number;
  readonly mask_prob_ratio?: boolean;
  /** −1 to 1. */
  readonly advantage_balance?: number;
  readonly kimi_k2_tau?: number;
  readonly kl_penalty_source?: 'current_learner' | 'sample';
  readonly kl_penalty_reference_step?: number;
  readonly kl_penalty_step_lag?: number;
  readonly kl_ref_adapter_path?: string;
  readonly precalculate_logprobs?: boolean;
  readonly logprob_calculation_chunk_size?: number;
  readonly packed_sequence_length?: number;
  readonly num_trajectories_learning_rate_multiplier_power?: number;
  readonly scale_learning_rate_by_reward_std_dev?: boolean;
}

export const defaultUrls = {
  training: 'https://forge.coreweave.com/api/training/v1',
  wandb: 'https://api.wandb.ai',
} as const;

/** What the service allows a user at a time. */
export const serviceConcurrency = 2000;

const url = z.url({ protocol: /^https?$/ });
const milliseconds = z.int().min(1);
const config = z
  .strictObject({
    importance_sampling_level: z.enum(['average', 'geometric_average']),
    max_negative_advantage_importance_sampling_weight: z.number(),
    mask_prob_ratio: z.boolean(),
    advantage_balance: z.number().min(-1).max(1),
    kimi_k2_tau: z.number(),
    kl_penalty_source: z.enum(['current_learner', 'sample']),
    kl_penalty_reference_step: z.int().min(0),
    kl_penalty_step_lag: z.int().min(1),
    kl_ref_adapter_path: z.string().min(1),
    precalculate_logprobs: z.boolean(),
    logprob_calculation_chunk_size: z.int().min(1),
    packed_sequence_length: z.int().min(1),
    num_trajectories_learning_rate_multiplier_power: z.number(),
    scale_learning_rate_by_reward_std_dev: z.boolean(),
  })
  .partial();

const schema = z.strictObject({
  apiKey: z.string().optional(),
  entity: z.string().min(1).optional(),
  project: z.string().min(1).optional(),
  trainingUrl: url.optional(),
  inferenceUrl: url.optional(),
  wandbUrl: url.optional(),
  config: config.optional(),
  metrics: z.enum(['wandb', 'off']).optional(),
  pollMs: milliseconds.optional(),
  stallTimeoutMs: milliseconds.optional(),
  checkpointTimeoutMs: milliseconds.optional(),
  requestTimeoutMs: milliseconds.optional(),
  retryDelayMs: milliseconds.optional(),
  maxConcurrentRequests: z.int().min(1).max(serviceConcurrency).optional(),
});

export interface ServerlessSettings {
  readonly entity: string | undefined;
  readonly project: string | undefined;
  readonly trainingUrl: string;
  readonly inferenceUrl: string;
  readonly wandbUrl: string;
  readonly config: ServiceConfig;
  readonly metrics: 'wandb' | 'off';
  readonly pollMs: number;
  readonly stallTimeoutMs: number;
  readonly checkpointTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly retryDelayMs: number;
  readonly maxConcurrentRequests: number;
}

/** Checks the options but for the key, and fills in the defaults. Throws InvalidOptionError. */
export function parseOptions(options: ServerlessBackendOptions): ServerlessSettings {
  const parsed = schema.safeParse(options);
  if (!parsed.success) throw refuse('serverlessBackend', options, parsed.error, 'ServerlessBackendOptions');
  const { config: given = {} } = options;
  if (given.kl_penalty_reference_step !== undefined && given.kl_penalty_step_lag !== undefined) {
    throw new InvalidOptionError({
      field: 'serverlessBackend.config.kl_penalty_step_lag',
      received: given.kl_penalty_step_lag,
      expected: 'left out where kl_penalty_reference_step is given',
      fix: 'Keep one of the two: they say in two ways which step is the reference.',
    });
  }
  const trainingUrl = options.trainingUrl ?? defaultUrls.training;
  return {
    entity: options.entity,
    project: options.project,
    trainingUrl,
    inferenceUrl: (options.inferenceUrl ?? trainingUrl).replace(/\/+$/, ''),
    wandbUrl: (options.wandbUrl ?? defaultUrls.wandb).replace(/\/+$/, ''),
    config: given,
    metrics: options.metrics ?? 'wandb',
    pollMs: options.pollMs ?? 1000,
    stallTimeoutMs: options.stallTimeoutMs ?? 30 * 60_000,
    checkpointTimeoutMs: options.checkpointTimeoutMs ?? 120_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 600_000,
    retryDelayMs: options.retryDelayMs ?? 500,
    maxConcurrentRequests: options.maxConcurrentRequests ?? serviceConcurrency,
  };
}

const refused = 'The service decides it: leave it out, or train with localBackend().';
const leftOut = z.undefined({ error: 'left out: the service does not take it' });
const positive = z.number().positive();
const training = z.strictObject({
  advantages: z.strictObject({ scaleByStandardDeviation: z.boolean() }).partial().optional(),
  loss: z
    .strictObject({
      kind: z.enum(['cispo', 'ppo']),
      clipLow: z.number().min(0),
      clipHigh: z.number().min(0),
      importanceSampling: z.enum(['token', 'sequence']),
      klCoefficient: z.number().min(0),
      truncatedImportanceSampling: positive.nullable(),
      entropyCoefficient: z.literal(0, { error: '0 or left out: the service does not take it' }),
    })
    .partial()
    .optional(),
  optimizer: z
    .strictObject({
      learningRate: positive,
      betas: leftOut,
      weightDecay: leftOut,
      maxGradNorm: leftOut,
      epochs: z.literal(1, { error: '1 or left out: the service trains each job once' }),
      gradientSteps: leftOut,
      tokensPerBatch: leftOut,
    })
    .partial()
    .optional(),
  lora: z
    .strictObject({ rank: leftOut, alpha: leftOut, targetModules: leftOut, seed: leftOut })
    .partial()
    .optional(),
});

/** Throws InvalidOptionError for everything that the service does not take. */
export function validateTraining(
  settings: ServerlessSettings,
  { concurrency, callRewards, ...options }: Parameters<Backend['validate']>[0],
): void {
  if (callRewards === true) {
    throw new InvalidOptionError({
      field: 'rewards',
      received: 'a reward of scope "call"',
      expected: 'a list of rewards for whole trajectories: the service computes advantages from those alone',
      fix: 'Use codeReward instead of callReward, or the local backend.',
    });
  }
  const parsed = training.safeParse(options);
  if (!parsed.success) throw refuse('', options, parsed.error, 'LossOptions and OptimizerOptions');
  const {
    kl_penalty_reference_step: reference,
    kl_penalty_step_lag: lag,
    importance_sampling_level: level,
  } = settings.config;
  if (level !== undefined && options.loss?.importanceSampling !== undefined) {
    throw new InvalidOptionError({
      field: 'loss.importanceSampling',
      received: options.loss.importanceSampling,
      expected: 'left out where config.importance_sampling_level is given',
      fix: 'Keep one of the two.',
    });
  }
  if ((options.loss?.klCoefficient ?? 0) === 0 && (reference !== undefined || lag !== undefined)) {
    throw new InvalidOptionError({
      field: 'loss.klCoefficient',
      received: options.loss?.klCoefficient,
      expected: 'above 0 where `config` names a reference for it',
      fix: 'Give the coefficient, or leave the reference out.',
    });
  }
  if (concurrency !== undefined && concurrency > settings.maxConcurrentRequests) {
    throw new InvalidOptionError({
      field: 'limits.concurrency',
      received: concurrency,
      expected: `at most ${String(settings.maxConcurrentRequests)}, what the service allows a user`,
      fix: 'Lower it: the service answers what is above with 429.',
    });
  }
}

/** `experimental_config`, all keys, null where the service decides. */
export function toServiceConfig(settings: TrainingSettings, config: ServiceConfig): Record<string, unknown> {
  const { loss = {}, optimizer = {}, advantages = {} } = settings;
  const kind = loss.kind ?? 'cispo';
  const scale = advantages.scaleByStandardDeviation ?? false;
  const kl = loss.klCoefficient ?? 0;
  const hasReference =
    config.kl_penalty_reference_step !== undefined || config.kl_penalty_step_lag !== undefined;
  return {
    learning_rate: optimizer.learningRate ?? null,
    loss_fn: kind,
    ppo: kind === 'ppo',
    epsilon: loss.clipLow ?? null,
    epsilon_high: loss.clipHigh ?? null,
    importance_sampling_level: config.importance_sampling_level ?? loss.importanceSampling ?? 'token',
    max_negative_advantage_importance_sampling_weight:
      config.max_negative_advantage_importance_sampling_weight ?? null,
    mask_prob_ratio: config.mask_prob_ratio ?? false,
    truncated_importance_sampling: loss.truncatedImportanceSampling ?? null,
    advantage_balance: config.advantage_balance ?? 0,
    scale_rewards: scale,
    normalize_advantages: scale,
    kimi_k2_tau: config.kimi_k2_tau ?? null,
    kl_penalty_coef: kl,
    kl_penalty_source: config.kl_penalty_source ?? (kl > 0 ? 'sample' : 'current_learner'),
    // Step 0 is the base model, which our KL is measured against unless the user says otherwise.
    kl_penalty_reference_step: config.kl_penalty_reference_step ?? (kl > 0 && !hasReference ? 0 : null),
    kl_penalty_step_lag: config.kl_penalty_step_lag ?? null,
    kl_ref_adapter_path: config.kl_ref_adapter_path ?? null,
    precalculate_logprobs: config.precalculate_logprobs ?? false,
    allow_training_without_logprobs: false,
    logprob_calculation_chunk_size: config.logprob_calculation_chunk_size ?? 1024,
    packed_sequence_length: config.packed_sequence_length ?? null,
    num_trajectories_learning_rate_multiplier_power:
      config.num_trajectories_learning_rate_multiplier_power ?? 0,
    scale_learning_rate_by_reward_std_dev: config.scale_learning_rate_by_reward_std_dev ?? false,
    plot_tensors: false,
  };
}

function refuse(root: string, value: object, error: z.ZodError, docs: string): InvalidOptionError {
  const issue = error.issues[0];
  const path = issue?.path ?? [];
  const keys = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [];
  const whole = [...path, ...keys];
  const received = whole.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  const unknown = keys.length > 0;
  const secret = whole[0] === 'apiKey';
  return new InvalidOptionError({
    field: [root, ...whole.map(String)].filter((part) => part !== '').join('.'),
    received: secret ? '(hidden)' : received,
    expected: unknown ? 'left out: there is no such option' : (issue?.message ?? 'valid'),
    fix: issue?.message.startsWith('left out') === true ? refused : `See the docstring of ${docs}.`,
  });
}
