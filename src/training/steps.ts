/** Pure parts of a training step: which scenarios, which advantages, which rows, which job. */
import { createHash } from 'node:crypto';
import type { TrainingRow } from '../backends/backend.ts';
import type { Scenario } from '../rewards/reward.ts';
import type { Trajectory } from '../trajectory/records.ts';
import { groupAdvantages, type AdvantageOptions } from './advantages.ts';
import { sample } from './random.ts';
import type { RolloutTask } from './rollouts.ts';
import { trajectoryRows } from './rows.ts';

/** A trajectory with the one number that it is judged by; null where no reward could be had. */
export interface JudgedTrajectory {
  readonly groupId: string;
  readonly trajectory: Trajectory;
  readonly total: number | null;
}

export interface Batch {
  readonly rows: readonly TrainingRow[];
  /** All that the rows depend on: a group's mean and deviation need also its members without an advantage. */
  readonly trajectoryIds: readonly string[];
  readonly groups: number;
  readonly groupsWithSignal: number;
  readonly trainedTokens: number;
  /** Calls left out of the rows, by reason. */
  readonly skipped: Readonly<Record<string, number>>;
}

/** The rollouts of one step: `groups` scenarios drawn by seed, `groupSize` attempts at each. */
export function drawTasks<S extends Scenario>(options: {
  readonly scenarios: readonly S[];
  readonly groups: number;
  readonly groupSize: number;
  /** Distinguishes this draw: `name/step/round`. */
  readonly label: string;
  readonly seed: number;
}): RolloutTask<S>[] {
  const digest = createHash('sha256')
    .update(`${options.label}:${String(options.seed)}`)
    .digest();
  return sample(options.scenarios, options.groups, digest.readUInt32LE(0)).flatMap((scenario) =>
    Array.from({ length: options.groupSize }, (_, attempt) => ({
      scenario,
      groupId: `${options.label}/${scenario.id}`,
      attempt,
    })),
  );
}

/** Groups → advantages → rows. Groups without a signal are dropped and counted. */
export function buildBatch(
  judged: readonly JudgedTrajectory[],
  options: AdvantageOptions & { readonly maxTokens: number },
): Batch {
  const rows: TrainingRow[] = [];
  const trajectoryIds: string[] = [];
  const skipped: Record<string, number> = {};
  let groupsWithSignal = 0;
  let trainedTokens = 0;
  const groups = Map.groupBy(judged, (one) => one.groupId);
  for (const [groupId, members] of groups) {
    const scored = members.filter((one): one is JudgedTrajectory & { total: number } => one.total !== null);
    const result = groupAdvantages(
      scored.map((one) => one.total),
      options,
    );
    if (!result.signal) continue;
    groupsWithSignal += 1;
    for (const [index, { trajectory }] of scored.entries()) {
      trajectoryIds.push(trajectory.id);
      const advantage = result.advantages[index] ?? 0;
      if (advantage === 0) continue;
      const built = trajectoryRows(trajectory, { groupId, advantage, maxTokens: options.maxTokens });
      for (const [reason, count] of Object.entries(built.skipped))
        skipped[reason] = (skipped[reason] ?? 0) + count;
      if (built.rows.length === 0) continue;
      rows.push(...built.rows);
      trainedTokens += built.trainedTokens;
    }
  }
  return { rows, trajectoryIds, groups: groups.size, groupsWithSignal, trainedTokens, skipped };
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
