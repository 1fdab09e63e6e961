import { describe, expect, it } from 'vitest';
import { meanWithInterval, proportion } from './statistics.ts';

describe('proportion', () => {
  it('gives the Wilson interval', () => {
    // By hand: centre 0.24165, half width 0.05358
    const { interval } = proportion(57, 240);
    expect(interval[0]).toBeCloseTo(0.188, 3);
    expect(interval[1]).toBeCloseTo(0.2953, 3);
  });

  it('stays within 0 and 1, and knows nothing without any trial', () => {
    expect(proportion(0, 10).interval[0]).toBe(0);
    expect(proportion(10, 10).interval[1]).toBeCloseTo(1, 12);
    expect(proportion(0, 0).interval).toEqual([0, 1]);
  });
});

describe('meanWithInterval', () => {
  it('narrows with the root of the count', () => {
    const few = meanWithInterval([0, 1]);
    const many = meanWithInterval(Array.from({ length: 200 }, (_, index) => index % 2));
    expect(few.mean).toBe(0.5);
    expect(many.interval[1] - many.mean).toBeCloseTo((1.96 * 0.5) / Math.sqrt(200), 2);
  });
});
