/** Groups → training rows, for backends that execute a loss and for what the trainer reports. Pure. */
import { trajectoryRows, type TrajectoryRows, type TrainingRow } from '../trajectory/rows.ts';
import type { TrainingGroup } from './backend.ts';

/** Rows of all members with an advantage; sequences above `maxTokens` (default: no bound) are left out, counted. */
export function groupRows(groups: readonly TrainingGroup[], maxTokens = Infinity): TrajectoryRows {
  const rows: TrainingRow[] = [];
  const skipped: Record<string, number> = {};
  let trainedTokens = 0;
  for (const { groupId, members } of groups) {
    for (const { trajectory, advantage, callAdvantages, children = [] } of members) {
      if (advantage === 0 && callAdvantages === undefined) continue;
      for (const one of [trajectory, ...children]) {
        const options = { groupId, advantage, maxTokens };
        const built = trajectoryRows(
          one,
          callAdvantages === undefined ? options : { ...options, callAdvantages },
        );
        for (const [reason, count] of Object.entries(built.skipped))
          skipped[reason] = (skipped[reason] ?? 0) + count;
        rows.push(...built.rows);
        trainedTokens += built.trainedTokens;
      }
    }
  }
  return { rows, skipped, trainedTokens };
}
