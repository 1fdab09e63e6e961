import { describe, expect, it } from 'vitest';
import { agreement, kendallTau } from './agreement.ts';
import { balancedOrders } from './orders.ts';

describe('balancedOrders', () => {
  it.each([2, 3, 4, 5, 8])('puts each of %i candidates in each place equally often', (size) => {
    const count = size % 2 === 0 ? size : 2 * size;
    const orders = balancedOrders(size, count, 9);
    for (let place = 0; place < size; place += 1) {
      const seen = Map.groupBy(orders, (order) => order[place]);
      expect([...seen.values()].map((one) => one.length)).toEqual(new Array(size).fill(count / size));
    }
  });

  it('reverses each second order, so that a straight bias is gone after two', () => {
    const [one, other] = balancedOrders(6, 2, 3);
    expect(other).toEqual(one?.toReversed());
    expect(one?.toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('is another for another seed, and the same for the same', () => {
    const first = balancedOrders(8, 1, 1);
    expect(balancedOrders(8, 1, 1)).toEqual(first);
    expect(balancedOrders(8, 1, 2)).not.toEqual(first);
  });
});

describe('agreement', () => {
  it('is 1 for the same ranking, −1 for the opposite, and between with ties', () => {
    expect(kendallTau([1, 2, 3], [10, 20, 30])).toBe(1);
    expect(kendallTau([1, 2, 3], [3, 2, 1])).toBe(-1);
    expect(kendallTau([1, 2, 2], [1, 2, 3])).toBeCloseTo(2 / Math.sqrt(6));
    expect(
      agreement([
        [1, 2],
        [1, 2],
        [2, 1],
      ]),
    ).toBeCloseTo(-1 / 3);
  });

  it('is unknown where votes tell nothing apart', () => {
    expect(agreement([[1, 2]])).toBeUndefined();
    expect(
      agreement([
        [1, 1],
        [1, 2],
      ]),
    ).toBeUndefined();
  });
});
