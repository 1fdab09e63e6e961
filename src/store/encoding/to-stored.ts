import equal from 'fast-deep-equal';
import type { Message, ModelCall, Tokens, ToolResult, Trajectory } from '../../trajectory/records.ts';
import { NumberTaker } from './numbers.ts';
import type { StoredCall, StoredResult, StoredTokens, StoredTrajectory } from './stored.ts';
import { TextTaker } from './texts.ts';

/** What it does not change, it shares with the trajectory. */
export interface Stored {
  readonly record: StoredTrajectory;
  readonly numbers: NumberTaker;
  readonly texts: TextTaker;
}
type Taken = Pick<Stored, 'numbers' | 'texts'>;

/**
 * Trajectory → what is stored of it, without loss. One pass that copies each call once: what this makes for each run, the
 * collector of the host has to clear away. The record is to be validated by the caller; what has been taken out of it is
 * valid. Throws TypeError where something else is in the place of a list.
 */
export function toStored(from: Trajectory): Stored {
  const taken = { numbers: new NumberTaker(), texts: new TextTaker() };
  let before: ModelCall | undefined;
  const events = from.events.map((event): StoredTrajectory['events'][number] => {
    if (event.kind !== 'model-call') return storedResult(event, taken.texts);
    const stored = storedCall(event, before, taken);
    before = event;
    return stored;
  });
  return { record: { ...from, events, texts: taken.texts.lengths }, ...taken };
}

function storedCall(call: ModelCall, before: ModelCall | undefined, taken: Taken): StoredCall {
  const { request, response, tokens } = call;
  const tools = listed(request.tools, 'tools');
  return {
    ...call,
    request: {
      ...request,
      messages: storedMessages(listed(request.messages, 'messages'), before, taken.texts),
      tools: equal(tools, before?.request.tools ?? []) ? null : tools,
    },
    response: storedResponse(response, taken.texts),
    tokens: tokens === null ? null : storedTokens(tokens, before, taken.numbers),
  };
}

function storedMessages(
  messages: readonly Message[],
  before: ModelCall | undefined,
  taker: TextTaker,
): StoredCall['request']['messages'] {
  const kept = keptMessages(before, messages);
  const added = messages.slice(kept);
  const texts = added.map((message) => taker.take(message.content));
  return {
    kept,
    added: added.map((message, at) => (texts[at] === 0 ? message : withoutContent(message))),
    texts,
  };
}

function storedResponse(response: ModelCall['response'], taker: TextTaker): StoredCall['response'] {
  const { message } = response;
  const text = message === null ? 0 : taker.take(message.content);
  return { ...response, message: message === null || text === 0 ? message : withoutContent(message), text };
}

function storedResult(result: ToolResult, taker: TextTaker): StoredResult {
  const text = taker.take(result.output);
  return { ...result, output: text === 0 ? result.output : '', text };
}

/** Its place among the properties stays. */
function withoutContent(message: Message): Message {
  return { ...message, content: '' };
}

function storedTokens(tokens: Tokens, before: ModelCall | undefined, taker: NumberTaker): StoredTokens {
  const promptIds = listed(tokens.promptIds, 'promptIds');
  const kept = keptIds(before, promptIds);
  return {
    ...tokens,
    promptIds: { kept, added: taker.ids(promptIds.slice(kept)) },
    completionIds: taker.ids(listed(tokens.completionIds, 'completionIds')),
    logprobs: taker.logprobs(listed(tokens.logprobs, 'logprobs')),
  };
}

/** A number in the place of a list would be read as a count, and null as a repetition. */
function listed<List extends readonly unknown[]>(value: List, field: string): List {
  if (!Array.isArray(value)) throw new TypeError(`${field} is no list.`);
  return value;
}

/** How many messages the call before, its answer included, has at the beginning of `now`. */
function keptMessages(before: ModelCall | undefined, now: readonly Message[]): number {
  if (before === undefined) return 0;
  const { messages } = before.request;
  const answer = before.response.message;
  const kept = commonLength(messages, now, 0);
  const goesOn = kept === messages.length && kept < now.length && answer !== null;
  return goesOn && equal(answer, now[kept]) ? kept + 1 : kept;
}

/** The same for what the policy read and wrote. */
function keptIds(before: ModelCall | undefined, now: readonly number[]): number {
  const tokens = before?.tokens ?? null;
  if (tokens === null) return 0;
  const kept = commonLength(tokens.promptIds, now, 0);
  return kept === tokens.promptIds.length ? kept + commonLength(tokens.completionIds, now, kept) : kept;
}

/** How many of `list` stand in `now` from `at` on. */
function commonLength(list: readonly unknown[], now: readonly unknown[], at: number): number {
  const most = Math.min(list.length, now.length - at);
  let length = 0;
  while (length < most && equal(list[length], now[at + length])) length += 1;
  return length;
}
