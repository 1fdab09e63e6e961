import { describe, expect, it } from 'vitest';
import { aCall, aTrajectory } from '../testing/records.ts';
import { countMismatchedTokens, trajectoryRows } from './rows.ts';

const options = { groupId: 'g', advantage: 2, maxTokens: 100 };

describe('trajectoryRows', () => {
  it('joins turns whose prompt continues what came before, and trains each sampled token once', () => {
    const first = aCall({ promptIds: [1, 2], completionIds: [3, 4] });
    const second = aCall({ promptIds: [1, 2, 3, 4, 5], completionIds: [6], index: 1 });
    const trajectory = aTrajectory({ events: [first, second] });
    const { rows, trainedTokens } = trajectoryRows(trajectory, options);
    expect(rows).toMatchObject([
      { tokenIds: [1, 2, 3, 4, 5, 6], positions: [2, 3, 5], advantages: [2, 2, 2] },
    ]);
    expect(trainedTokens).toBe(3);
    expect(countMismatchedTokens(rows, [trajectory])).toBe(0);
  });

  it('begins a new sequence where history was rewritten', () => {
    const first = aCall({ promptIds: [1, 2], completionIds: [3, 4] });
    const second = aCall({ promptIds: [1, 2, 3, 9, 5], completionIds: [6], index: 1 });
    const trajectory = aTrajectory({ events: [first, second] });
    const { rows } = trajectoryRows(trajectory, options);
    expect(rows.map((row) => [row.tokenIds, row.positions])).toEqual([
      [
        [1, 2, 3, 4],
        [2, 3],
      ],
      [[1, 2, 3, 9, 5, 6], [5]],
    ]);
    expect(countMismatchedTokens(rows, [trajectory])).toBe(0);
  });

  it('leaves out what cannot be trained, by reason', () => {
    const incumbent = { ...aCall({}), trainability: { trainable: false, reason: 'incumbent' } as const };
    const otherPolicy = { ...aCall({}), served: { requestedModel: 'm', policy: 'other@1', propensity: 1 } };
    const long = aCall({ promptIds: Array.from({ length: 200 }, (_, id) => id) });
    const { rows, skipped } = trajectoryRows(
      aTrajectory({ events: [incumbent, otherPolicy, long] }),
      options,
    );
    expect(rows).toEqual([]);
    expect(skipped).toEqual({ incumbent: 1, 'other-policy': 1, 'too-long': 1 });
  });
});

describe('countMismatchedTokens', () => {
  it('counts trained tokens that were not sampled there', () => {
    const trajectory = aTrajectory({ events: [aCall({ promptIds: [1, 2], completionIds: [3, 4] })] });
    const [row] = trajectoryRows(trajectory, options).rows;
    if (row === undefined) throw new Error('There is no row.');
    expect(countMismatchedTokens([{ ...row, tokenIds: [1, 2, 3, 7] }], [trajectory])).toBe(1);
    expect(countMismatchedTokens([{ ...row, tokenIds: [1, 5, 3, 4] }], [trajectory])).toBe(2);
    expect(countMismatchedTokens([{ ...row, positions: [1, 2, 3] }], [trajectory])).toBe(1);
  });
});
