import { describe, expect, it } from 'vitest';
import { groupAdvantages } from './advantages.ts';

describe('groupAdvantages', () => {
  it('centres rewards on their group', () => {
    expect(groupAdvantages([0, 1, 1, 2])).toEqual({ signal: true, advantages: [-1, 0, 0, 1] });
  });

  it('scales by the population standard deviation where asked', () => {
    const result = groupAdvantages([0, 0, 0, 4], { scaleByStandardDeviation: true });
    // mean 1, standard deviation √3
    expect(result.signal && result.advantages[3]).toBeCloseTo(3 / Math.sqrt(3), 5);
  });

  it('finds no signal in equal rewards, nor in fewer than two', () => {
    expect(groupAdvantages([0.3, 0.3, 0.3])).toEqual({ signal: false });
    expect(groupAdvantages([1])).toEqual({ signal: false });
  });
});
