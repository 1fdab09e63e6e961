/** Scores to reward records and back. The weighted total is a record of its own, so that it survives a restart. */
import type { Reward } from '../trajectory/records.ts';
import type { FinishedRollout } from './rollouts.ts';

const totalName = 'total';

/** The rewards of a rollout as records, with ids that make writing them twice harmless. */
export function rewardRecords(rollout: FinishedRollout, now: number): Reward[] {
  const { trajectory, score } = rollout;
  const common = { trajectoryId: trajectory.id, createdAt: now };
  const components = score.components.map((one): Reward => ({
    ...common,
    id: `${trajectory.id}/${one.name}`,
    name: one.name,
    value: one.value,
    source: one.source,
    ...(one.explanation === undefined ? {} : { explanation: one.explanation }),
  }));
  if (score.status === 'missing') return components;
  const total: Reward = {
    ...common,
    id: `${trajectory.id}//${totalName}`,
    name: totalName,
    value: score.total,
    source: { type: 'code', name: 'weighted-sum' },
  };
  return [...components, total];
}

/** The total that a trajectory was judged by in training; null where there is none. */
export function totalOf(rewards: readonly Reward[]): number | null {
  return rewards.find((reward) => reward.id.endsWith(`//${totalName}`))?.value ?? null;
}
