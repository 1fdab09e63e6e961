import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { aCall, aTrajectory } from '../testing/records.ts';
import { predicateOf } from './predicate.ts';
import { trajectory } from './records.ts';

const fits = predicateOf(trajectory);
const whole = aTrajectory({
  metadata: { from: 'test' },
  events: [
    aCall({ promptIds: [1, 2], completionIds: [3] }),
    { kind: 'tool-result', index: 1, toolCallId: 't', toolName: 'look', output: {}, effect: 'read', at: 1 },
  ],
});

/** Paths to all values inside, the value itself left out. */
function paths(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[...path, key], ...paths(inner, [...path, key])]);
}

function withValueAt(
  path: readonly string[],
  change: (holder: Record<string, unknown>, key: string) => void,
) {
  const copy: unknown = structuredClone(whole);
  const holder = path.slice(0, -1).reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], copy);
  change(holder as Record<string, unknown>, path.at(-1) ?? '');
  return copy;
}

describe('the predicate of a trajectory', () => {
  it('takes a whole one', () => {
    expect(fits(whole)).toBe(true);
  });

  it('says what zod says, with each value in turn left out or replaced', () => {
    const all = paths(whole);
    expect(all.length).toBeGreaterThan(60);
    const others = [null, -1, 1.5, Number.NaN, '', 'x'.repeat(201), true, [], {}, [-1], { status: 'ok' }];
    for (const path of all) {
      const changed = others.map((other) => withValueAt(path, (holder, key) => (holder[key] = other)));
      const without = withValueAt(path, (holder, key) => Reflect.deleteProperty(holder, key));
      for (const value of [...changed, without])
        expect(fits(value), `${path.join('.')}: ${JSON.stringify(value)}`).toBe(
          trajectory.safeParse(value).success,
        );
    }
  });
});

it('takes any member of a union without a tag', () => {
  const either = predicateOf(z.union([z.string(), z.int().nonnegative()]));
  expect(['a', 0, 7].map(either)).toEqual([true, true, true]);
  expect([-1, 0.5, null, []].map(either)).toEqual([false, false, false, false]);
});

it.each([
  ['a type', z.date()],
  ['a check', z.string().regex(/x/)],
  ['a number format', z.object({ n: z.int32() })],
])('refuses a schema with %s that it does not know', (_, schema) => {
  expect(() => predicateOf(schema)).toThrow(/no predicate yet/);
});
