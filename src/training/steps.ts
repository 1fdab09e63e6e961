/** Pure parts of a training step: which scenarios, which advantages, which rows, which job. */
import { createHash } from 'node:crypto';
import type { AdvantageOptions, GroupMember, TrainingGroup } from '../backends/backend.ts';
import { groupRows } from '../backends/rows.ts';
import type { Scenario } from '../rewards/reward.ts';
import type { Trajectory } from '../trajectory/records.ts';
import { sample } from '../trajectory/random.ts';
import type { TrajectoryRows } from '../trajectory/rows.ts';
import { modelCalls } from '../trajectory/views.ts';
import { callAdvantages, groupAdvantages, type CallTotal } from './advantages.ts';
import type { RolloutTask } from './rollouts/rollout.ts';

/** A trajectory with the one number that it is judged by; null where no reward could be had. */
export interface JudgedTrajectory {
  readonly groupId: string;
  readonly trajectory: Trajectory;
  readonly total: number | null;
  /** By call id, the totals of the rewards for single calls. */
  readonly callTotals?: ReadonlyMap<string, number>;
  /** Of sub-agents with runs of their own: they share what the run came to. */
  readonly children?: readonly Trajectory[];
}

export interface Batch extends TrajectoryRows {
  /** The groups with a signal; `rows` is what they come to, token by token. */
  readonly signal: readonly TrainingGroup[];
  /** All that the rows depend on: a group's mean and deviation need also its members without an advantage. */
  readonly trajectoryIds: readonly string[];
  /** Of sub-agents, among them. */
  readonly children: readonly Trajectory[];
  /** Groups in all. */
  readonly groups: number;
}

/** The rollouts of one step: `groups` scenarios drawn by seed, `groupSize` attempts at each. */
export function drawTasks<S extends Scenario>(options: {
  readonly scenarios: readonly S[];
  readonly groups: number;
  readonly groupSize: number;
  /** Distinguishes this draw: `name/step/round`. The same draw has the same scenarios, also after a restart. */
  readonly label: string;
  /** Of the run of rollouts: groups of two runs never mix. */
  readonly runId: string;
  readonly seed: number;
}): RolloutTask<S>[] {
  const digest = createHash('sha256')
    .update(`${options.label}:${String(options.seed)}`)
    .digest();
  return sample(options.scenarios, options.groups, digest.readUInt32LE(0)).flatMap((scenario) =>
    Array.from({ length: options.groupSize }, (_, attempt) => ({
      scenario,
      groupId: `${options.runId}/${scenario.id}`,
      attempt,
    })),
  );
}

/** Groups → advantages → rows. Groups without a signal are dropped and counted. */
export function buildBatch(
  judged: readonly JudgedTrajectory[],
  options: AdvantageOptions & { readonly maxTokens?: number },
): Batch {
  const signal: TrainingGroup[] = [];
  const groups = Map.groupBy(judged, (one) => one.groupId);
  for (const [groupId, members] of groups) {
    const scored = members.filter((one): one is JudgedTrajectory & { total: number } => one.total !== null);
    const result = groupAdvantages(
      scored.map((one) => one.total),
      options,
    );
    const byCall = callAdvantages(scored.map(callsOf), options);
    if (!result.signal && byCall.size === 0) continue;
    signal.push({
      groupId,
      members: scored.map(({ trajectory, total, children = [] }, index): GroupMember => ({
        trajectory,
        reward: total,
        advantage: result.signal ? (result.advantages[index] ?? 0) : 0,
        ...(children.length === 0 ? {} : { children }),
        ...(byCall.size === 0 ? {} : { callAdvantages: byCall }),
      })),
    });
  }
  const members = signal.flatMap((group) => group.members);
  return {
    ...groupRows(signal, options.maxTokens),
    signal,
    trajectoryIds: members.flatMap(({ trajectory, children = [] }) =>
      [trajectory, ...children].map((one) => String(one.id)),
    ),
    children: members.flatMap(({ children = [] }) => children),
    groups: groups.size,
  };
}

/** An id that is the same whenever the same trajectories are trained into the same step. */
export function jobIdFor(options: {
  readonly name: string;
  readonly step: number;
  readonly trajectoryIds: readonly string[];
}): string {
  const digest = createHash('sha256')
    .update(JSON.stringify(options.trajectoryIds))
    .digest('hex')
    .slice(0, 16);
  return `${options.name}-${String(options.step)}-${digest}`;
}

function callsOf({ trajectory, callTotals }: JudgedTrajectory): CallTotal[] {
  return modelCalls(trajectory).map(({ id }) => ({ callId: id, total: callTotals?.get(id) }));
}
