/** Groups from recorded traffic: which trajectories can be compared, which can be learnt from, and why others cannot. Pure. */
import {
  aggregateFeedback,
  isMature,
  type FeedbackAggregation,
  type MaturityRule,
} from '../../rewards/feedback/aggregate.ts';
import { totalScore, type Component, type Term } from '../../rewards/score.ts';
import type { ScoredTrajectory } from '../../trajectory/records.ts';
import { modelCalls } from '../../trajectory/views.ts';
import { groupAdvantages } from '../advantages.ts';
import type { JudgedTrajectory } from '../steps.ts';

/** A reward or feedback by its name, as it goes into the sum. */
export interface RecordedTerm {
  readonly name: string;
  /** Default: 1. */
  readonly weight?: number;
  /** How several people's values become one. Default: 'last'. */
  readonly aggregation?: FeedbackAggregation;
  /** Whether a trajectory without it still counts, by the other terms. Default: false: it is missing its reward. */
  readonly optional?: boolean;
}

export interface RecordedRules {
  /** What a trajectory is worth. Default: the total that it got when it was rolled out. */
  readonly rewards?: readonly RecordedTerm[];
  /** When a trajectory has waited long enough for its feedback. Default: at once. */
  readonly maturity?: MaturityRule;
  /** What makes a group: attempts at one scenario by one policy, or the groups of rollouts. Default: 'scenario'. */
  readonly groupBy?: 'scenario' | 'rollout';
  /** Only trajectories of these policies: `name@step` or `base`. Default: of all. */
  readonly policies?: readonly string[];
}

/** Why a trajectory is no member of a group. */
export type LeftOut =
  | 'no-scenario' // without one there is nothing to compare it with
  | 'unfinished' // failed, timed out, aborted, abandoned
  | 'immature' // may still get its feedback
  | 'no-reward' // missing is not 0
  | 'already-trained'
  | 'other-policy'
  | 'untrainable'; // none of its calls has what training needs: the incumbent's, for instance

/** Why a group teaches nothing. */
export type NoSignal = 'single' | 'equal-rewards';

export interface RecordedGroup {
  readonly groupId: string;
  readonly scenario: string | null;
  readonly policy: string | null;
  readonly members: readonly JudgedTrajectory[];
  readonly signal: true | NoSignal;
}

export interface RecordedGroups {
  readonly trajectories: number;
  readonly groups: readonly RecordedGroup[];
  readonly withSignal: number;
  readonly withoutSignal: Readonly<Partial<Record<NoSignal, number>>>;
  /** Trajectories by the reason for which they are in no group. */
  readonly leftOut: Readonly<Partial<Record<LeftOut, number>>>;
}

/** Sorts recorded trajectories into groups, each with the total that it is judged by. */
export function recordedGroups(
  scored: readonly ScoredTrajectory[],
  rules: RecordedRules,
  known: { readonly trained: ReadonlySet<string>; readonly now: number },
): RecordedGroups {
  const leftOut: Partial<Record<LeftOut, number>> = {};
  const members = scored.flatMap((one) => {
    const verdict = judge(one, rules, known);
    if (typeof verdict !== 'string') return [{ one, verdict }];
    leftOut[verdict] = (leftOut[verdict] ?? 0) + 1;
    return [];
  });
  const withoutSignal: Partial<Record<NoSignal, number>> = {};
  const groups = [...Map.groupBy(members, ({ verdict }) => verdict.groupId)].map(
    ([groupId, list]): RecordedGroup => {
      const signal = signalOf(list.map(({ verdict }) => verdict.total ?? 0));
      if (signal !== true) withoutSignal[signal] = (withoutSignal[signal] ?? 0) + 1;
      const { scenario = null, policy = null } = list[0]?.one.trajectory ?? {};
      return { groupId, scenario, policy, signal, members: list.map(({ verdict }) => verdict) };
    },
  );
  const withSignal = groups.filter((group) => group.signal === true).length;
  return { trajectories: scored.length, groups, withSignal, withoutSignal, leftOut };
}

function judge(
  scored: ScoredTrajectory,
  rules: RecordedRules,
  { trained, now }: { readonly trained: ReadonlySet<string>; readonly now: number },
): LeftOut | JudgedTrajectory {
  const { trajectory } = scored;
  const { groupBy = 'scenario', maturity = {} } = rules;
  const { id, scenario, policy, groupId } = trajectory;
  const group = groupBy === 'rollout' ? groupId : scenario === null ? null : `${policy ?? ''}/${scenario}`;
  if (group === null) return 'no-scenario';
  if (trajectory.outcome.status !== 'finished') return 'unfinished';
  if (trained.has(id)) return 'already-trained';
  if (rules.policies?.includes(policy ?? '') === false) return 'other-policy';
  if (!modelCalls(trajectory).some((call) => call.trainability.trainable)) return 'untrainable';
  const total = totalOf(scored, rules.rewards);
  // A reward that is there ends the wait only where the rule says so: others may still come.
  if (!isMature(scored, maturity, now)) return 'immature';
  return total === undefined ? 'no-reward' : { groupId: group, trajectory, total };
}

function totalOf(
  scored: ScoredTrajectory,
  terms: readonly RecordedTerm[] = [{ name: 'total' }],
): number | undefined {
  const components = terms.flatMap((term): Component[] => {
    const said = aggregateFeedback(scored.feedback, term.name, term.aggregation);
    if (said !== undefined) return [{ name: term.name, value: said, source: { type: 'feedback' } }];
    const given = scored.rewards.find((reward) => reward.name === term.name && reward.callId === undefined);
    return given === undefined ? [] : [{ name: term.name, value: given.value, source: given.source }];
  });
  const there = new Set(components.map((one) => one.name));
  if (terms.some((term) => term.optional !== true && !there.has(term.name))) return undefined;
  const weighed = terms.map(({ name, weight = 1 }): Term => ({
    name,
    weight,
    scope: 'trajectory',
    source: { type: 'feedback' },
  }));
  const score = totalScore(weighed, { components });
  return score.status === 'scored' ? score.total : undefined;
}

function signalOf(totals: readonly number[]): true | NoSignal {
  if (totals.length < 2) return 'single';
  return groupAdvantages(totals).signal ? true : 'equal-rewards';
}
