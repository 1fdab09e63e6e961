import { describe, expect, it } from 'vitest';
import { aCall, aTrajectory } from '../testing/records.ts';
import { buildBatch, drawTasks } from './steps.ts';

const options = { maxTokens: 100 };
const advantages = (batch: ReturnType<typeof buildBatch>) =>
  Object.fromEntries(batch.rows.map((row) => [row.rowId, row.advantages]));

describe('buildBatch', () => {
  it('leaves out a member without a total: the others are compared as if it were not there', () => {
    const totals = [['good', 1] as const, ['bad', 0] as const, ['silent', null] as const];
    const judged = totals.map(([id, total]) => ({
      groupId: 'g',
      trajectory: aTrajectory({ id: id as never }),
      total,
    }));
    const batch = buildBatch(judged, options);
    expect(advantages(batch)).toEqual({ 'good.0': [0.5], 'bad.0': [-0.5] });
    expect(batch.trajectoryIds).toEqual(['good', 'bad']);
  });

  it('gives the tokens of each call what it, and those after it, earned against the calls of the group', () => {
    const first = aCall({});
    const second = aCall({ index: 1, history: first, promptIds: [1, 2, 3, 4], completionIds: [5] });
    const other = aCall({});
    const judged = [
      {
        groupId: 'g',
        trajectory: aTrajectory({ id: 'two' as never, events: [first, second] }),
        total: 1,
        callTotals: new Map([
          [first.id, 0],
          [second.id, 3],
        ]),
      },
      {
        groupId: 'g',
        trajectory: aTrajectory({ id: 'one' as never, events: [other] }),
        total: 1,
        callTotals: new Map([[other.id, 0]]),
      },
    ];
    // The totals are equal; the calls' are 0, 3 and 0 about their mean 1: −1 + 2 for the first, 2 for the second.
    expect(advantages(buildBatch(judged, options))).toEqual({ 'two.0': [1, 2], 'one.0': [-1] });
  });

  it('trains what sub-agents sampled on what the whole run came to, and counts them as trained', () => {
    const child = aTrajectory({ id: 'child' as never });
    const judged = [
      { groupId: 'g', trajectory: aTrajectory({ id: 'a' as never }), total: 1, children: [child] },
      { groupId: 'g', trajectory: aTrajectory({ id: 'b' as never }), total: 0 },
    ];
    const batch = buildBatch(judged, options);
    expect(advantages(batch)).toEqual({ 'a.0': [0.5], 'child.0': [0.5], 'b.0': [-0.5] });
    expect(batch.trajectoryIds).toEqual(['a', 'child', 'b']);
  });
});

describe('drawTasks', () => {
  const scenarios = Array.from({ length: 40 }, (_, index) => ({ id: String(index) }));
  const draw = (label: string, seed = 0) =>
    drawTasks({ scenarios, groups: 5, groupSize: 2, label, runId: 'run', seed }).map(
      ({ scenario }) => scenario.id,
    );

  it('draws the same scenarios after a restart, and others for another step, round or seed', () => {
    expect(draw('p/n/1/0')).toEqual(draw('p/n/1/0'));
    const others = [draw('p/n/2/0'), draw('p/n/1/1'), draw('p/n/1/0', 1)];
    expect(new Set([draw('p/n/1/0'), ...others].map(String)).size).toBe(4);
  });
});
