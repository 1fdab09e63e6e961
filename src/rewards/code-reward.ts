import { InvalidOptionError } from '../errors.ts';
import type {
  CallReward,
  CallRewardValue,
  RewardFunction,
  RewardInput,
  RewardValue,
  Scenario,
} from './reward.ts';
import { withTimeLimit } from './time-limit.ts';

export type CodeResult = number | boolean | RewardValue | undefined;

export interface CodeRewardOptions {
  /** Milliseconds, after which the reward counts as failed. Default: 60 000. */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 60_000;

/**
 * A reward computed by code, sync or async. `true` counts 1, `false` 0; `undefined` means that this reward says nothing
 * here. A throw, or no answer in time, makes the whole score missing. Pass `input.signal` on to what takes long.
 *
 * Throws InvalidOptionError for an empty name or a time limit that is none.
 */
export function codeReward<S extends Scenario = Scenario, R = unknown>(
  name: string,
  compute: (input: RewardInput<S, R>) => CodeResult | Promise<CodeResult>,
  options: CodeRewardOptions = {},
): RewardFunction<S, R> {
  const timeoutMs = checked(name, options);
  return {
    scope: 'trajectory',
    name,
    source: { type: 'code', name },
    async score(input) {
      const { signal } = input;
      const result = await withTimeLimit({ name, timeoutMs, signal }, (limited) =>
        compute({ ...input, signal: limited }),
      );
      if (result === undefined) return undefined;
      if (typeof result === 'boolean') return { value: result ? 1 : 0 };
      return typeof result === 'number' ? { value: result } : result;
    },
  };
}

/**
 * A reward for single model calls, computed by code: give the calls that it speaks of. Each is compared with the calls of
 * the whole group, and counts for the tokens of its call and of those before it (process supervision, DeepSeekMath,
 * arXiv 2402.03300, section 4.1.3).
 */
export function callReward<S extends Scenario = Scenario, R = unknown>(
  name: string,
  compute: (input: RewardInput<S, R>) => readonly CallRewardValue[] | Promise<readonly CallRewardValue[]>,
  options: CodeRewardOptions = {},
): CallReward<S, R> {
  const timeoutMs = checked(name, options);
  return {
    scope: 'call',
    name,
    source: { type: 'code', name },
    scoreCalls(input) {
      const { signal } = input;
      return withTimeLimit({ name, timeoutMs, signal }, (limited) => compute({ ...input, signal: limited }));
    },
  };
}

function checked(name: string, { timeoutMs = defaultTimeoutMs }: CodeRewardOptions): number {
  if (name.trim() === '') {
    throw new InvalidOptionError({
      field: 'name',
      received: name,
      expected: 'a non-empty name',
      fix: 'Name the reward after what it measures.',
    });
  }
  // Longer delays than this, timers take for 1 ms.
  if (!(timeoutMs > 0 && timeoutMs <= 2 ** 31 - 1)) {
    throw new InvalidOptionError({
      field: 'timeoutMs',
      received: timeoutMs,
      expected: 'a number of milliseconds above 0 and below 2^31',
      fix: 'Leave it out for 60 seconds.',
    });
  }
  return timeoutMs;
}
