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
  const values = againstMean(rewards, options);
  return values === undefined ? { signal: false } : { signal: true, advantages: values };
}

/** A call, and the total of its own rewards where it has any. */
export interface CallTotal {
  readonly callId: string;
  readonly total: number | undefined;
}

/**
 * What the rewards of single calls add to the advantage of each call's tokens (process supervision, DeepSeekMath, arXiv
 * 2402.03300, section 4.1.3): each total is taken against those of all calls of the group, and counts for its call and
 * for those before it. `members`: the calls of each trajectory, in their order. Empty where there is nothing to learn.
 */
export function callAdvantages(
  members: readonly (readonly CallTotal[])[],
  options: AdvantageOptions = {},
): ReadonlyMap<string, number> {
  const given = members.flat().filter((call) => call.total !== undefined);
  const values = againstMean(
    given.map((call) => call.total ?? 0),
    options,
  );
  if (values === undefined) return new Map();
  const own = new Map(given.map((call, index) => [call.callId, values[index] ?? 0]));
  return new Map(
    members.flatMap((calls) => {
      let later = 0;
      return calls
        .toReversed()
        .map(({ callId }): [string, number] => [callId, (later += own.get(callId) ?? 0)]);
    }),
  );
}

/** `v − mean(v)`, optionally over `std(v) + 1e-6`; undefined below two values, or where all are equal. */
function againstMean(values: readonly number[], options: AdvantageOptions): number[] | undefined {
  if (values.length < 2) return undefined;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const centred = values.map((value) => value - mean);
  const variance = centred.reduce((sum, value) => sum + value * value, 0) / values.length;
  const deviation = Math.sqrt(variance);
  if (deviation < epsilon) return undefined;
  return options.scaleByStandardDeviation === true
    ? centred.map((value) => value / (deviation + epsilon))
    : centred;
}
