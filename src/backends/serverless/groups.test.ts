import { describe, expect, it } from 'vitest';
import { aCall, aTrajectory } from '../../testing/records.ts';
import type { ModelCall, TrajectoryEvent } from '../../trajectory/records.ts';
import { countChoices, isChoice, toWireGroups } from './groups.ts';

function wire(events: TrajectoryEvent[]) {
  const trajectory = aTrajectory({ scenario: 's', step: 4, events });
  const groups = toWireGroups([{ groupId: 'g', members: [{ trajectory, reward: 0.5, advantage: 1 }] }]);
  const found = groups[0]?.trajectories[0];
  if (found === undefined) throw new Error('There is no trajectory.');
  return { groups, trajectory: found };
}

const roles = (entries: readonly object[]): string[] =>
  entries.map((one) => ('finish_reason' in one ? 'choice' : String(Reflect.get(one, 'role'))));

describe('toWireGroups', () => {
  it('makes one history of turns that repeat what came before, with a choice for each answer', () => {
    const first = aCall({ promptIds: [1, 2], completionIds: [3, 4] });
    const second = aCall({ promptIds: [1, 2, 3, 4, 5], completionIds: [6], index: 1, history: first });
    const { trajectory } = wire([first, second]);
    expect(roles(trajectory.messages_and_choices)).toEqual(['user', 'choice', 'user', 'choice']);
    expect(trajectory.additional_histories).toEqual([]);
    const [, choice] = trajectory.messages_and_choices;
    expect(choice).toEqual({
      finish_reason: 'stop',
      index: 0,
      logprobs: {
        content: [3, 4].map((id) => ({
          token: `token_id:${String(id)}`,
          logprob: -0.5,
          bytes: null,
          top_logprobs: [],
        })),
        refusal: null,
      },
      message: { role: 'assistant', content: 'yes', refusal: null },
      prompt_token_ids: [1, 2],
      token_ids: [3, 4],
    });
    expect(trajectory).toMatchObject({ reward: 0.5, initial_policy_version: 4, final_policy_version: 4 });
  });

  it('puts what was rewritten, or offers other tools, into additional histories', () => {
    const first = aCall({ promptIds: [1], completionIds: [2] });
    const rewritten = aCall({ promptIds: [9], completionIds: [8], index: 1 });
    const tooled: ModelCall = {
      ...first,
      request: { ...first.request, tools: [{ type: 'function', function: { name: 'f' } }] },
    };
    const { trajectory } = wire([first, rewritten, tooled]);
    expect(trajectory.additional_histories.map((one) => roles(one.messages_and_choices))).toEqual([
      ['user', 'choice'],
      ['user', 'choice'],
    ]);
    expect(trajectory.additional_histories[1]?.tools).toHaveLength(1);
    expect(trajectory.tools).toBeNull();
  });

  it('keeps calls that cannot be trained on as context only', () => {
    const hot: ModelCall = { ...aCall({}), trainability: { trainable: false, reason: 'temperature-not-1' } };
    const other: ModelCall = {
      ...aCall({ index: 1 }),
      served: { requestedModel: 'm', policy: 'other@1', propensity: 1 },
    };
    const { trajectory, groups } = wire([hot, other]);
    expect(roles(trajectory.messages_and_choices)).toEqual(['user', 'assistant']);
    expect(countChoices(groups)).toBe(0);
  });

  it('leaves out empty tool calls, and keeps the arguments of others as they were written', () => {
    const calls = [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":  1.0}' } }];
    const call = aCall({});
    const answered = (tool_calls: typeof calls): ModelCall => ({
      ...call,
      response: { message: { role: 'assistant', content: '', tool_calls }, usage: {} },
    });
    const message = (made: ModelCall) => {
      const [, choice] = wire([made]).trajectory.messages_and_choices;
      return choice !== undefined && isChoice(choice) ? choice : undefined;
    };
    expect(message(answered([]))?.message).toEqual({ role: 'assistant', content: '', refusal: null });
    expect(message(answered(calls))).toMatchObject({
      finish_reason: 'tool_calls',
      message: { tool_calls: calls },
    });
  });

  it.each([
    ['promptIds', { promptIds: [] }],
    ['completionIds', { completionIds: [], logprobs: [] }],
    ['logprobs', { logprobs: [-1, -1] }],
    ['logprobs[0]', { logprobs: [null] }],
    ['logprobs[0]', { logprobs: [Number.NEGATIVE_INFINITY] }],
  ])('refuses a trainable call whose %s do not fit, by name', (field, changes) => {
    const call = aCall({});
    const tokens = { promptIds: [1, 2], completionIds: [3], logprobs: [-0.5], logprobsMode: 'raw' as const };
    expect(() => wire([{ ...call, tokens: { ...tokens, ...changes } }])).toThrow(
      `events[0].tokens.${field}"`,
    );
  });
});
