/** `experimental_config` (§8) → what the engine is told; what it cannot do is refused, never ignored. */
import type { EngineJob } from './engine.ts';
import { HttpError } from './http.ts';
import type { RlConfig } from './schemas.ts';

/** Keys of §8 that the stand-in cannot honour, with the values that ask for nothing. */
const unsupported: Readonly<Record<string, readonly unknown[]>> = {
  max_negative_advantage_importance_sampling_weight: [],
  mask_prob_ratio: [false],
  advantage_balance: [0],
  kimi_k2_tau: [],
  kl_ref_adapter_path: [],
  precalculate_logprobs: [false],
  logprob_calculation_chunk_size: [1024],
  packed_sequence_length: [],
  num_trajectories_learning_rate_multiplier_power: [0],
  scale_learning_rate_by_reward_std_dev: [false],
  plot_tensors: [false],
  kl_penalty_step_lag: [],
};

/** Throws HttpError 400 or 422 where the service refuses, or the stand-in cannot do, what is asked. */
export function checkConfig(config: RlConfig): void {
  const { loss_fn: name, ppo, kl_penalty_reference_step: reference, kl_penalty_step_lag: lag } = config;
  if (name != null && ppo != null && ppo !== (name === 'ppo'))
    throw new HttpError(400, 'loss_fn and ppo contradict each other.');
  if (reference != null && lag != null)
    throw new HttpError(400, 'kl_penalty_reference_step and kl_penalty_step_lag exclude each other.');
  for (const [key, harmless] of Object.entries(unsupported)) {
    const value = config[key];
    if (value != null && !harmless.includes(value))
      throw new HttpError(400, `The stand-in cannot honour experimental_config.${key}.`);
  }
  const level = config.importance_sampling_level ?? 'token';
  if (level !== 'token' && level !== 'sequence')
    throw new HttpError(400, `The stand-in cannot honour importance_sampling_level ${level}.`);
  if ((config.kl_penalty_coef ?? 0) !== 0 && reference !== 0)
    throw new HttpError(400, 'The stand-in knows KL only to step 0: set kl_penalty_reference_step to 0.');
}

/** The loss of a config that was checked. */
export function engineLoss(config: RlConfig): EngineJob['loss'] {
  const { epsilon, epsilon_high: high, kl_penalty_coef: kl, truncated_importance_sampling: cap } = config;
  return {
    kind: config.loss_fn ?? (config.ppo === true ? 'ppo' : 'cispo'),
    ...(epsilon == null ? {} : { clipLow: epsilon }),
    ...(high == null ? {} : { clipHigh: high }),
    ...(config.importance_sampling_level === 'sequence' ? { importanceSampling: 'sequence' as const } : {}),
    ...(kl == null ? {} : { klCoefficient: kl }),
    ...(cap == null ? {} : { truncatedImportanceSampling: cap }),
  };
}
