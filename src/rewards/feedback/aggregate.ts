/** Feedback as rewards: several opinions to one number, and when a trajectory has waited long enough. Pure. */
import type { FeedbackRecord } from '../../trajectory/feedback.ts';
import type { ScoredTrajectory } from '../../trajectory/records.ts';

/** How several people's values under one name become one. Each person's own revisions count once, the last one. */
export type FeedbackAggregation = 'last' | 'mean' | 'min' | 'max' | 'sum';

/** The value under `name`; undefined where nobody gave one. Missing is not 0. */
export function aggregateFeedback(
  feedback: readonly FeedbackRecord[],
  name: string,
  aggregation: FeedbackAggregation = 'last',
): number | undefined {
  const given = feedback
    .filter((one) => one.name === name && one.value !== null)
    .sort((a, b) => a.at - b.at)
    .flatMap((one) => (one.value === null ? [] : [one.value]));
  if (given.length === 0) return undefined;
  const sum = given.reduce((total, value) => total + value, 0);
  switch (aggregation) {
    case 'last':
      return given.at(-1);
    case 'mean':
      return sum / given.length;
    case 'min':
      return Math.min(...given);
    case 'max':
      return Math.max(...given);
    case 'sum':
      return sum;
    default:
      return aggregation satisfies never;
  }
}

/** When a recorded trajectory may be trained on. */
export interface MaturityRule {
  /** Feedback names that make it mature at once, when all of them are there. Default: none. */
  readonly feedback?: readonly string[];
  /** It is mature this long after its end at the latest, milliseconds. Default: 0 without `feedback`, else 7 days. */
  readonly afterMs?: number;
}

const week = 7 * 24 * 60 * 60 * 1000;

/**
 * Whether the wait for feedback is over: all that is asked for has come, or the time is up. A mature trajectory without
 * feedback stays without a reward: the end of the wait says nothing about it.
 */
export function isMature(
  { trajectory, feedback }: Pick<ScoredTrajectory, 'trajectory' | 'feedback'>,
  rule: MaturityRule,
  now: number,
): boolean {
  const names = rule.feedback ?? [];
  const afterMs = rule.afterMs ?? (names.length === 0 ? 0 : week);
  if (now - trajectory.endedAt >= afterMs) return true;
  return names.length > 0 && names.every((name) => aggregateFeedback(feedback, name) !== undefined);
}
