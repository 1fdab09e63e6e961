/** Answers held against what they should be. */
import { distance } from 'fastest-levenshtein';
import { codeReward } from '../code-reward.ts';
import type { RewardFunction, RewardInput, Scenario } from '../reward.ts';
import { defaultSubject, type Subject } from './subject.ts';

export interface MatchOptions<S extends Scenario, R> {
  /** Default: as the function is called. */
  readonly name?: string;
  /** One right answer or several; undefined: this scenario has none, and the check says nothing. */
  readonly expected: (input: RewardInput<S, R>) => string | readonly string[] | undefined;
  readonly actual?: Subject<S, R>;
  /** Whether case, surrounding and doubled spaces, and the form of Unicode characters matter. Default: 'loose'. */
  readonly comparison?: 'loose' | 'strict';
}

/** 1 where the answer is one of the right ones, else 0. */
export function exactMatch<S extends Scenario = never, R = never>(
  options: MatchOptions<S, R>,
): RewardFunction<S, R> {
  return matching('exact-match', options, (actual, expected) => (actual === expected ? 1 : 0));
}

/**
 * How near the answer is to the nearest right one, in [0, 1]: `1 − edits / length of the longer` (Levenshtein, 1966).
 * `atLeast`: below it, the check gives 0. Default: 0.
 */
export function fuzzyMatch<S extends Scenario = never, R = never>(
  options: MatchOptions<S, R> & { readonly atLeast?: number },
): RewardFunction<S, R> {
  const { atLeast = 0 } = options;
  return matching('fuzzy-match', options, (actual, expected) => {
    const longer = Math.max(actual.length, expected.length);
    const likeness = longer === 0 ? 1 : 1 - distance(actual, expected) / longer;
    return likeness < atLeast ? 0 : likeness;
  });
}

/** 1 where the answer fits the pattern, else 0. */
export function patternMatch<S extends Scenario = never, R = never>(
  pattern: RegExp,
  options: { readonly name?: string; readonly actual?: Subject<S, R> } = {},
): RewardFunction<S, R> {
  const { name = 'pattern-match', actual = defaultSubject } = options;
  // A global or sticky pattern remembers where it stopped; a copy starts anew each time.
  return codeReward(name, (input) => new RegExp(pattern.source, pattern.flags).test(actual(input)));
}

function matching<S extends Scenario, R>(
  defaultName: string,
  options: MatchOptions<S, R>,
  likeness: (actual: string, expected: string) => number,
): RewardFunction<S, R> {
  const { name = defaultName, expected, actual = defaultSubject, comparison = 'loose' } = options;
  const normal = comparison === 'loose' ? loosened : (text: string) => text;
  return codeReward(name, (input) => {
    const wanted = expected(input);
    if (wanted === undefined) return undefined;
    const answers = typeof wanted === 'string' ? [wanted] : wanted;
    const given = normal(actual(input));
    return Math.max(0, ...answers.map((one) => likeness(given, normal(one))));
  });
}

function loosened(text: string): string {
  return text.normalize('NFKC').trim().replace(/\s+/g, ' ').toLowerCase();
}
