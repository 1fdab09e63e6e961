import { InvalidOptionError } from '../errors.ts';
import type { RewardFunction, RewardInput, RewardValue, Scenario } from './reward.ts';

type CodeResult = number | boolean | RewardValue | undefined;

/**
 * A reward computed by code. `true` counts 1, `false` 0; `undefined` means that this reward says nothing here.
 * Throws InvalidOptionError for an empty name.
 */
export function codeReward<S extends Scenario = Scenario, R = unknown>(
  name: string,
  compute: (input: RewardInput<S, R>) => CodeResult | Promise<CodeResult>,
): RewardFunction<S, R> {
  if (name.trim() === '') {
    throw new InvalidOptionError({
      field: 'name',
      received: name,
      expected: 'a non-empty name',
      fix: 'Name the reward after what it measures.',
    });
  }
  return {
    name,
    source: { type: 'code', name },
    async score(input) {
      const result = await compute(input);
      if (result === undefined) return undefined;
      if (typeof result === 'boolean') return { value: result ? 1 : 0 };
      return typeof result === 'number' ? { value: result } : result;
    },
  };
}
