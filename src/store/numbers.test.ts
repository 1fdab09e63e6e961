import { describe, expect, it } from 'vitest';
import { InvalidRecordError } from '../errors.ts';
import { aCall, aTrajectory } from '../testing/records.ts';
import { parseTrajectory } from '../trajectory/parse.ts';
import type { ModelCall, Trajectory } from '../trajectory/records.ts';
import { fromCompact, toCompact } from './encoding.ts';
import { attachNumbers, detachNumbers, sizeOf, storedTrajectory, writeNumbers } from './numbers.ts';

/** What the store keeps: the text, and the bytes of the numbers. */
function kept(trajectory: Trajectory): { readonly text: string; readonly bytes: Uint8Array } {
  const { record, numbers } = detachNumbers(toCompact(trajectory));
  const buffer = new ArrayBuffer(8 + sizeOf(numbers));
  writeNumbers(numbers, buffer, 8);
  return { text: JSON.stringify(record), bytes: new Uint8Array(buffer, 8) };
}

function back({ text, bytes }: ReturnType<typeof kept>): Trajectory {
  return fromCompact(attachNumbers(storedTrajectory.parse(JSON.parse(text)), bytes));
}

function withTokens(...all: readonly (Partial<ModelCall['tokens']> | null)[]): Trajectory {
  const events = all.map((tokens, index) => {
    const call = aCall({ promptIds: [1, 2, 3], completionIds: [4, 5], index });
    if (tokens === null || call.tokens === null) return { ...call, tokens: null };
    return { ...call, tokens: { ...call.tokens, ...tokens } };
  });
  return aTrajectory({ events });
}

describe('numbers of tokens', () => {
  it.each([
    ['of no call', withTokens()],
    ['of a call without tokens', withTokens(null)],
    ['of several calls', withTokens({}, null, { completionIds: [7], logprobs: [-0.25] }, {})],
    [
      'of every size',
      withTokens({ completionIds: [0, 2 ** 32 - 1, 1], logprobs: [-1e-320, -1.1e300, -1 / 3] }),
    ],
    ['with ids beyond four bytes', withTokens({ completionIds: [2 ** 32, 5], logprobs: [-1, -2] }, {})],
    ['with a log-probability missing', withTokens({ logprobs: [null, -2] }, {})],
    ['without any', withTokens({ completionIds: [], logprobs: [] }, {})],
  ])('come back %s', (_, trajectory) => {
    expect(back(kept(trajectory))).toStrictEqual(parseTrajectory(trajectory));
  });

  it('are not in the text', () => {
    const { text } = kept(withTokens({ completionIds: [40_321, 40_322], logprobs: [-0.123456789, -0.5] }));
    expect(text).not.toMatch(/40321|0\.123456789/);
  });

  it('are read where older records have them, in the text', () => {
    const trajectory = withTokens({}, { logprobs: [null, -2] });
    const text = JSON.stringify(toCompact(trajectory));
    expect(back({ text, bytes: new Uint8Array() })).toStrictEqual(parseTrajectory(trajectory));
  });

  it.each([0, 1, 35])('are refused where %d of their 36 bytes are left', (left) => {
    const { text, bytes } = kept(withTokens({}));
    expect(bytes).toHaveLength(36);
    expect(() => back({ text, bytes: bytes.subarray(0, left) })).toThrow(InvalidRecordError);
  });
});
