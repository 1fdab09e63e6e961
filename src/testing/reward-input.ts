/** What a reward is given, for tests of rewards. */
import type { RewardInput, Scenario } from '../rewards/reward.ts';
import type { Message, Trajectory } from '../trajectory/records.ts';
import { aCall, aTrajectory } from './records.ts';

/**
 * A rollout of scenario `s` that returned `result`; the trajectory answers `yes` unless a test gives another one. Typed so
 * that it fits every reward.
 */
export function aRewardInput(
  result: unknown,
  trajectory: Trajectory = aTrajectory({}),
): RewardInput<never, never> {
  const { signal } = new AbortController();
  const input: RewardInput<Scenario, unknown> = { scenario: { id: 's' }, result, trajectory, signal };
  return input as RewardInput<never, never>;
}

/** One call that answers `message`, with the tool results given. */
export function anAnswer(
  message: Message,
  results: readonly { readonly toolName: string; readonly error?: string }[] = [],
): Trajectory {
  const call = aCall({});
  const events = results.map((result, index) => ({
    kind: 'tool-result' as const,
    index: index + 1,
    toolCallId: `t${String(index)}`,
    effect: 'unknown' as const,
    at: 1,
    ...result,
  }));
  return aTrajectory({ events: [{ ...call, response: { ...call.response, message } }, ...events] });
}
