/**
 * The conversations of a trajectory. A call goes on with the one whose messages its prompt begins with; any other begins
 * a conversation of its own: a sub-agent, a history that was compacted, a template that strips reasoning.
 */
import equal from 'fast-deep-equal';
import type { Message, ModelCall, Trajectory } from './records.ts';
import { isSideCall, modelCalls } from './views.ts';

export interface History {
  readonly messages: readonly Message[];
  readonly tools: ModelCall['request']['tools'];
  readonly callIds: readonly string[];
}

/** The conversations in the order in which they began; side calls and calls without an answer are left out. */
export function historiesOf(trajectory: Trajectory): History[] {
  const histories: History[] = [];
  for (const call of modelCalls(trajectory)) {
    const { messages, tools } = call.request;
    const answer = call.response.message;
    if (answer === null || isSideCall(call)) continue;
    const at = histories.findLastIndex((one) => startsWith(messages, one.messages));
    const before = histories[at]?.callIds ?? [];
    const grown = { messages: [...messages, answer], tools, callIds: [...before, call.id] };
    if (at === -1) histories.push(grown);
    else histories[at] = grown;
  }
  return histories;
}

function startsWith(messages: readonly Message[], prefix: readonly Message[]): boolean {
  return (
    prefix.length <= messages.length &&
    prefix.every((message, index) => sameMessage(message, messages[index]))
  );
}

/** Reasoning is often not sent back: that does not make it another conversation. */
function sameMessage(before: Message, now: Message | undefined): boolean {
  if (now === undefined) return false;
  const { reasoning: _, ...left } = before;
  const { reasoning: __, ...right } = now;
  return equal(left, right);
}
