import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { json, logprobs, tokenIds } from './plain-data.ts';

const accepts = (value: unknown): boolean => json.safeParse(value).success;

function cycle(): object {
  const node: { next?: object } = {};
  node.next = node;
  return node;
}

describe('json', () => {
  it('takes what JSON can say, from any realm, and properties that are left out', () => {
    const made: unknown = runInNewContext('({ list: [1, { deep: null }] })');
    for (const value of ['', 0, true, null, [], { a: undefined, b: [{ c: 'd' }] }, made, Object.create(null)])
      expect(accepts(value)).toBe(true);
  });

  it.each([
    ['undefined in a list', [undefined]],
    ['a number that JSON cannot say', { score: Number.NaN }],
    ['a function', { call: () => 1 }],
    ['a big integer', [1n]],
    ['an instance of a class', { at: new Date(0) }],
    ['a cycle', cycle()],
  ])('refuses %s', (_, value) => {
    expect(accepts(value)).toBe(false);
  });
});

describe('token ids and log-probabilities', () => {
  it('are refused by what they hold', () => {
    expect(tokenIds.safeParse([0, 50_000]).success).toBe(true);
    for (const ids of [[-1], [1.5], ['1'], 'ids']) expect(tokenIds.safeParse(ids).success).toBe(false);
    expect(logprobs.safeParse([-0.5, null]).success).toBe(true);
    for (const values of [[Number.NaN], [undefined], new Array(2), null])
      expect(logprobs.safeParse(values).success).toBe(false);
  });
});
