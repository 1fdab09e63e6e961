import type { RewardInput, Scenario } from '../reward.ts';
import { finalText } from '../../trajectory/views.ts';

/** What a check looks at. Default: what the rollout returned where that is a string, else the last answer. */
export type Subject<S extends Scenario, R> = (input: RewardInput<S, R>) => string;

export function defaultSubject({ result, trajectory }: RewardInput<Scenario, unknown>): string {
  return typeof result === 'string' ? result : finalText(trajectory);
}
