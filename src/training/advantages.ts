/** GRPO advantages (DeepSeekMath, arXiv 2402.03300): a rollout is judged against its own group. */
import type { AdvantageOptions } from '../backends/backend.ts';

/** Keeps the division finite where all rewards of a group are almost equal. */
const epsilon = 1e-6;

export type GroupAdvantages =
  | { readonly signal: true; readonly advantages: readonly number[] }
  /** All rewards are equal, or fewer than two are there: nothing to learn from. */
  | { readonly signal: false };

/**
 * Advantages of one group, one for each reward, in their order: `r − mean(r)`, optionally over `std(r) + 1e-6`.
 */
export function groupAdvantages(rewards: readonly number[], options: AdvantageOptions = {}): GroupAdvantages {
  if (rewards.length < 2) return { signal: false };
  const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
  const centred = rewards.map((reward) => reward - mean);
  const variance = centred.reduce((sum, value) => sum + value * value, 0) / rewards.length;
  const deviation = Math.sqrt(variance);
  if (deviation < epsilon) return { signal: false };
  if (options.scaleByStandardDeviation !== true) return { signal: true, advantages: centred };
  return { signal: true, advantages: centred.map((value) => value / (deviation + epsilon)) };
}
