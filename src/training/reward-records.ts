/** Scores to reward records and back. The weighted total is a record of its own, so that it survives a restart. */
import type { Component, Score, Term } from '../rewards/score.ts';
import type { Reward, Trajectory } from '../trajectory/records.ts';

const totalName = 'total';
const totalSource = { type: 'code', name: 'weighted-sum' } as const;

/** Components as records, with ids that make writing them twice harmless. */
export function componentRecords(
  trajectory: Trajectory,
  components: readonly Component[],
  now: number,
): Reward[] {
  return components.map((one): Reward => {
    const { name, value, source, callId, explanation, details } = one;
    return {
      id: idOf(trajectory, callId, name),
      trajectoryId: trajectory.id,
      ...(callId === undefined ? {} : { callId: callId as NonNullable<Reward['callId']> }),
      name,
      value,
      source,
      ...(explanation === undefined ? {} : { explanation }),
      ...(details === undefined ? {} : { details: { ...details } }),
      createdAt: now,
    };
  });
}

/** Components and totals of a score as records; a missing score has no total. */
export function scoreRecords(trajectory: Trajectory, score: Score, now: number): Reward[] {
  const components = componentRecords(trajectory, score.components, now);
  if (score.status === 'missing') return components;
  const total = (value: number, callId?: string): Reward => ({
    id: idOf(trajectory, callId, `/${totalName}`),
    trajectoryId: trajectory.id,
    ...(callId === undefined ? {} : { callId: callId as NonNullable<Reward['callId']> }),
    name: totalName,
    value,
    source: totalSource,
    createdAt: now,
  });
  const calls = [...score.callTotals].map(([callId, value]) => total(value, callId));
  return [...components, total(score.total), ...calls];
}

/** What the rewards of these terms gave, from the records. */
export function componentsOf(rewards: readonly Reward[], terms: readonly Term[]): Component[] {
  const names = new Set(terms.map((term) => term.name));
  return rewards
    .filter((reward) => names.has(reward.name) && !isTotal(reward))
    .map(({ name, value, source, callId, explanation, details }) => ({
      name,
      value,
      source,
      ...(callId === undefined ? {} : { callId }),
      ...(explanation === undefined ? {} : { explanation }),
      ...(details === undefined ? {} : { details }),
    }));
}

/** The total that a trajectory was judged by in training; null where there is none. */
export function totalOf(rewards: readonly Reward[]): number | null {
  return rewards.find((reward) => isTotal(reward) && reward.callId === undefined)?.value ?? null;
}

/** By call id, the totals of the rewards for single calls. */
export function callTotalsOf(rewards: readonly Reward[]): ReadonlyMap<string, number> {
  return new Map(
    rewards.flatMap((reward): [string, number][] =>
      isTotal(reward) && reward.callId !== undefined ? [[reward.callId, reward.value]] : [],
    ),
  );
}

export function isTotal(reward: Reward): boolean {
  return reward.id.endsWith(`//${totalName}`);
}

function idOf(trajectory: Trajectory, callId: string | undefined, name: string): string {
  return [trajectory.id, ...(callId === undefined ? [] : [callId]), name].join('/');
}
