import { InvalidOptionError } from '../../errors.ts';
import { totalsOf } from '../../trajectory/views.ts';
import { codeReward } from '../code-reward.ts';
import type { RewardFunction, Scenario } from '../reward.ts';
import { clamped } from '../score.ts';

export interface PenaltyOptions {
  readonly name?: string;
  /** Up to here there is no penalty. */
  readonly free: number;
  /** From here on the penalty is −1; between the two it grows in a straight line. */
  readonly limit: number;
}

/** In [−1, 0], by the tokens that the models wrote in the whole trajectory. Weigh it to taste. */
export function lengthPenalty<S extends Scenario = never, R = never>(
  options: PenaltyOptions,
): RewardFunction<S, R> {
  const penalty = ramp(options);
  return codeReward(options.name ?? 'length-penalty', ({ trajectory }) =>
    penalty(totalsOf(trajectory).outputTokens),
  );
}

/** In [−1, 0], by what the calls cost in US dollars; says nothing where a price is not known. */
export function costPenalty<S extends Scenario = never, R = never>(
  options: PenaltyOptions,
): RewardFunction<S, R> {
  const penalty = ramp(options);
  return codeReward(options.name ?? 'cost-penalty', ({ trajectory }) => {
    const { usd, unpricedCalls } = totalsOf(trajectory);
    return unpricedCalls > 0 ? undefined : penalty(usd);
  });
}

function ramp({ free, limit }: PenaltyOptions): (amount: number) => number {
  if (!(free >= 0 && limit > free && Number.isFinite(limit))) {
    throw new InvalidOptionError({
      field: 'limit',
      received: { free, limit },
      expected: 'above `free`, which is at least 0',
      fix: 'For instance { free: 200, limit: 800 }.',
    });
  }
  // `0 -` keeps −0 away, which no reader expects.
  return (amount) => 0 - clamped((amount - free) / (limit - free), { min: 0, max: 1 });
}
