/**
 * Trajectories → the service's groups, in the form of `messages_and_choices`. Every call that can be trained on becomes a
 * choice with its token ids and logprobs, checked here, because the service fails a whole job for one that lacks them.
 * Calls that cannot become plain assistant messages, which are context only. Pure.
 */
import deepEqual from 'fast-deep-equal';
import { InvalidRecordError } from '../../errors.ts';
import type { GroupMember, TrainingGroup } from '../backend.ts';
import type { Message, ModelCall, Trajectory } from '../../trajectory/records.ts';
import type { WireChoice, WireGroup, WireHistory, WireMessage, WireTrajectory } from './wire.ts';

/** Throws InvalidRecordError where a recorded call does not fit its own tokens. */
export function toWireGroups(groups: readonly TrainingGroup[]): WireGroup[] {
  return groups.map(({ groupId, members }) => ({
    trajectories: members.map(toWireTrajectory),
    exceptions: [],
    metadata: { group_id: groupId },
    metrics: {},
    logs: [],
  }));
}

/** How many choices the groups hold that can be trained on. */
export function countChoices(groups: readonly WireGroup[]): number {
  const histories = groups.flatMap((group) =>
    group.trajectories.flatMap((one) => [one, ...one.additional_histories]),
  );
  return histories.reduce((sum, one) => sum + one.messages_and_choices.filter(isChoice).length, 0);
}

export function isChoice(entry: WireMessage | WireChoice): entry is WireChoice {
  return 'finish_reason' in entry;
}

function toWireTrajectory({ trajectory, reward, children = [] }: GroupMember): WireTrajectory {
  // What sub-agents said are further histories of the run that they worked for.
  const [main, ...additional] = [trajectory, ...children].flatMap(histories);
  return {
    ...(main ?? { messages_and_choices: [], tools: null }),
    additional_histories: additional,
    reward,
    initial_policy_version: trajectory.step,
    final_policy_version: trajectory.step,
    metrics: trajectory.metrics,
    metadata: {
      trajectory_id: trajectory.id,
      ...(trajectory.scenario === null ? {} : { scenario_id: trajectory.scenario }),
    },
    logs: [],
  };
}

interface OpenHistory {
  /** The conversation so far, as the next request would repeat it. */
  readonly said: WireMessage[];
  readonly entries: (WireMessage | WireChoice)[];
  readonly tools: readonly unknown[] | null;
}

/** One history for each conversation: a call goes on with the latest one that its request repeats from the start. */
function histories(trajectory: Trajectory): WireHistory[] {
  const open: OpenHistory[] = [];
  for (const [index, call] of trajectory.events.entries()) {
    if (call.kind !== 'model-call' || call.response.message === null) continue;
    const messages = call.request.messages.map(toWireMessage);
    const tools = call.request.tools.length === 0 ? null : call.request.tools;
    const found = open.findLast((one) => deepEqual(one.tools, tools) && startsWith(messages, one.said));
    const history = found ?? { said: [], entries: [], tools };
    if (found === undefined) open.push(history);
    const answer = toWireMessage(call.response.message);
    history.entries.push(
      ...messages.slice(history.said.length),
      answerEntry(trajectory, call, index, answer),
    );
    history.said.push(...messages.slice(history.said.length), answer);
  }
  return open.map(({ entries, tools }) => ({ messages_and_choices: entries, tools }));
}

function startsWith(messages: readonly WireMessage[], said: readonly WireMessage[]): boolean {
  return said.length <= messages.length && said.every((one, index) => deepEqual(one, messages[index]));
}

/** Templates may refuse an empty list of tool calls: then the key is left out. */
function toWireMessage(message: Message): WireMessage {
  const { tool_calls: calls, ...others } = message;
  return { ...others, ...(Array.isArray(calls) && calls.length > 0 ? { tool_calls: calls } : {}) };
}

function answerEntry(
  trajectory: Trajectory,
  call: ModelCall,
  index: number,
  message: WireMessage,
): WireMessage | WireChoice {
  const { tokens } = call;
  if (!call.trainability.trainable || call.served.policy !== trajectory.policy || tokens === null)
    return message;
  const { promptIds, completionIds, logprobs } = tokens;
  const refuse = (field: string, received: unknown, expected: string): InvalidRecordError =>
    new InvalidRecordError({
      field: `${trajectory.id}.events[${String(index)}].tokens.${field}`,
      received,
      expected,
      fix: 'Such a call must not be marked trainable: report this with the record.',
    });
  if (promptIds.length === 0) throw refuse('promptIds', promptIds, 'the ids of the prompt');
  if (completionIds.length === 0) throw refuse('completionIds', completionIds, 'the ids that were sampled');
  if (logprobs.length !== completionIds.length)
    throw refuse('logprobs', logprobs.length, `as many as ids: ${String(completionIds.length)}`);
  const { content, ...others } = message;
  return {
    finish_reason: finishReason(call, message),
    index: 0,
    logprobs: {
      content: logprobs.map((logprob, at) => {
        if (logprob === null || !Number.isFinite(logprob))
          throw refuse(`logprobs[${String(at)}]`, logprob, 'a finite number');
        return { token: `token_id:${String(completionIds[at])}`, logprob, bytes: null, top_logprobs: [] };
      }),
      refusal: null,
    },
    message: { ...others, content: content ?? null, refusal: null },
    prompt_token_ids: promptIds,
    token_ids: completionIds,
  };
}

const reasons = ['stop', 'length', 'tool_calls', 'content_filter', 'function_call'] as const;

function finishReason(call: ModelCall, message: WireMessage): WireChoice['finish_reason'] {
  const known = reasons.find((one) => one === call.response.finishReason);
  return known ?? ('tool_calls' in message ? 'tool_calls' : 'stop');
}
