/** Training jobs as the sidecar takes them: `POST /training/jobs` of docs/sidecar-protocol.md. */
import type { TrainingRow } from '../../trajectory/rows.ts';
import type { TrainingJob } from '../backend.ts';

export interface SidecarJob {
  readonly job_id: string;
  readonly adapter: {
    readonly name: string;
    readonly step: number;
    readonly parent: string | null;
    readonly folder: string;
    readonly lora: {
      readonly rank: number;
      readonly alpha: number;
      readonly target_modules: readonly string[] | null;
      readonly seed: number;
    };
  };
  readonly loss: {
    readonly kind: 'cispo' | 'ppo';
    readonly clip_low: number;
    readonly clip_high: number;
    readonly importance_sampling: 'token' | 'sequence';
    readonly kl_coefficient: number;
    readonly truncated_importance_sampling: number | null;
    readonly entropy_coefficient: number;
  };
  readonly optimizer: {
    /** One for all gradient steps, or one for each. */
    readonly learning_rate: number | readonly number[];
    readonly betas: readonly [number, number];
    readonly weight_decay: number;
    readonly max_grad_norm: number;
    readonly epochs: number;
    readonly tokens_per_batch: number;
    readonly gradient_steps: number;
  };
  readonly rows: readonly {
    readonly row_id: string;
    readonly group_id: string;
    readonly token_ids: readonly number[];
    readonly positions: readonly number[];
    readonly logprobs: readonly (number | null)[];
    readonly advantages: readonly number[];
    readonly weights: readonly number[];
  }[];
}

/**
 * Default settings of the local engine, in one place; see `LossOptions` and its neighbours for what they mean.
 * `loraTargets`: the base model's, for jobs that name none; null: all linear layers but the head.
 */
export function toSidecarJob(
  job: TrainingJob,
  folder: string,
  rows: readonly TrainingRow[],
  loraTargets: readonly string[] | null,
): SidecarJob {
  const { loss = {}, optimizer = {}, lora = {} } = job;
  const rank = lora.rank ?? 8;
  const kind = loss.kind ?? 'cispo';
  return {
    job_id: job.jobId,
    adapter: {
      name: job.name,
      step: job.step,
      parent: job.parent?.location ?? null,
      folder,
      lora: {
        rank,
        alpha: lora.alpha ?? 2 * rank,
        target_modules: lora.targetModules ?? loraTargets,
        seed: lora.seed ?? 3407,
      },
    },
    loss: {
      kind,
      clip_low: loss.clipLow ?? (kind === 'cispo' ? 1 : 0.2),
      clip_high: loss.clipHigh ?? (kind === 'cispo' ? 4 : 0.2),
      importance_sampling: loss.importanceSampling ?? 'token',
      kl_coefficient: loss.klCoefficient ?? 0,
      truncated_importance_sampling: loss.truncatedImportanceSampling ?? null,
      entropy_coefficient: loss.entropyCoefficient ?? 0,
    },
    optimizer: {
      learning_rate: optimizer.learningRate ?? 1e-4,
      betas: optimizer.betas ?? [0.9, 0.99],
      weight_decay: optimizer.weightDecay ?? 0,
      max_grad_norm: optimizer.maxGradNorm ?? 1,
      epochs: optimizer.epochs ?? 1,
      tokens_per_batch: optimizer.tokensPerBatch ?? 8192,
      gradient_steps: optimizer.gradientSteps ?? 1,
    },
    rows: rows.map(toSidecarRow),
  };
}

export function toSidecarRow(row: TrainingRow): SidecarJob['rows'][number] {
  return {
    row_id: row.rowId,
    group_id: row.groupId,
    token_ids: row.tokenIds,
    positions: row.positions,
    logprobs: row.logprobs,
    advantages: row.advantages,
    weights: row.weights,
  };
}
