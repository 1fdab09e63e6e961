import { describe, expect, it } from 'vitest';
import { aFeedback, aTrajectory } from '../../testing/records.ts';
import { aggregateFeedback, isMature } from './aggregate.ts';

const piece = (value: number | null, at: number, name = 'resolved') => ({
  ...aFeedback({ value, at, name }),
  revision: 1,
});

describe('aggregateFeedback', () => {
  it('makes one number of several opinions, as asked', () => {
    const given = [piece(1, 20), piece(0.2, 30), piece(0, 10)];
    expect(aggregateFeedback(given, 'resolved')).toBe(0.2);
    expect(aggregateFeedback(given, 'resolved', 'mean')).toBeCloseTo(0.4);
    expect(aggregateFeedback(given, 'resolved', 'min')).toBe(0);
    expect(aggregateFeedback(given, 'resolved', 'max')).toBe(1);
    expect(aggregateFeedback(given, 'resolved', 'sum')).toBeCloseTo(1.2);
  });

  it('is missing, not 0, where nobody gave a number', () => {
    expect(aggregateFeedback([], 'resolved', 'sum')).toBeUndefined();
    expect(aggregateFeedback([piece(null, 1), piece(1, 1, 'kind')], 'resolved')).toBeUndefined();
  });
});

describe('isMature', () => {
  const trajectory = aTrajectory({ endedAt: 1000 });

  it('is mature at once where nothing is waited for', () => {
    expect(isMature({ trajectory, feedback: [] }, {}, 1000)).toBe(true);
  });

  it('waits for the feedback that is asked for, but not for ever', () => {
    const rule = { feedback: ['resolved', 'kind'], afterMs: 500 };
    const both = [piece(0, 1), piece(1, 1, 'kind')];
    expect(isMature({ trajectory, feedback: [piece(0, 1)] }, rule, 1100)).toBe(false);
    expect(isMature({ trajectory, feedback: both }, rule, 1100)).toBe(true);
    expect(isMature({ trajectory, feedback: [] }, rule, 1500)).toBe(true);
  });
});
