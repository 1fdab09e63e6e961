import { describe, expect, it } from 'vitest';
import { InvalidRecordError } from '../../errors.ts';
import { NumberReader, NumberTaker } from './numbers.ts';

interface Lists {
  readonly ids: number[][];
  readonly logprobs: (number | null)[][];
}

/** What stands in the JSON, and the bytes. */
function taken({ ids, logprobs }: Lists) {
  const taker = new NumberTaker();
  const left = {
    ids: ids.map((list) => taker.ids(list)),
    logprobs: logprobs.map((list) => taker.logprobs(list)),
  };
  const buffer = new ArrayBuffer(8 + taker.byteLength);
  taker.write(buffer, 8);
  return { left, bytes: new Uint8Array(buffer, 8) };
}

function back({ left, bytes }: ReturnType<typeof taken>): Lists {
  const counts = left.logprobs.filter((one) => typeof one === 'number');
  const reader = new NumberReader(
    bytes,
    counts.reduce((sum, count) => sum + count, 0),
  );
  return {
    ids: left.ids.map((one) => reader.ids(one)),
    logprobs: left.logprobs.map((one) => reader.logprobs(one)),
  };
}

describe('numbers', () => {
  it.each([
    ['none', { ids: [], logprobs: [] }],
    ['empty lists', { ids: [[], []], logprobs: [[]] }],
    ['several lists', { ids: [[1, 2, 3], [], [4]], logprobs: [[-0.25], [-1, -2]] }],
    ['every size', { ids: [[0, 2 ** 32 - 1]], logprobs: [[-1e-320, -1.1e300, -1 / 3]] }],
    ['ids beyond four bytes', { ids: [[2 ** 32, 5], [6]], logprobs: [[-1]] }],
    ['a log-probability that is missing', { ids: [[7]], logprobs: [[null, -2], [-3]] }],
  ])('come back: %s', (_, lists) => {
    expect(back(taken(lists))).toStrictEqual(lists);
  });

  it.each([[[1, -1]], [[0.5]], [[Number.NaN]], [[2 ** 32]], [['5']], [[null]], [[undefined]]])(
    'stay where they are if they are no unsigned integers of four bytes: %j',
    (list) => {
      const taker = new NumberTaker();
      expect(taker.ids(list as number[])).toBe(list);
      expect(taker.byteLength).toBe(0);
    },
  );

  it.each([[[null]], [[Number.NaN]], [[-Infinity]], [['-1']]])(
    'stay where they are if they are no finite numbers: %j',
    (list) => {
      const taker = new NumberTaker();
      expect(taker.logprobs(list as number[])).toBe(list);
      expect(taker.byteLength).toBe(0);
    },
  );

  it.each([0, 1, 35])('are refused where %d of their 36 bytes are left', (left) => {
    const { left: counts, bytes } = taken({
      ids: [
        [1, 2, 3],
        [4, 5],
      ],
      logprobs: [[-1, -2]],
    });
    expect(bytes).toHaveLength(36);
    expect(() => back({ left: counts, bytes: bytes.subarray(0, left) })).toThrow(InvalidRecordError);
  });
});
