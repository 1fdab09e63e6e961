/** Trajectories as judges read them. JSON throughout, so that nothing in them can pass for an instruction around them. */
import { historiesOf } from '../../trajectory/histories.ts';
import type { Message, ModelCall, Trajectory } from '../../trajectory/records.ts';

export interface Rendered {
  /** The conversation that the run began with. */
  readonly main: readonly Message[];
  /** Sub-agents, compacted histories: each a conversation of its own. */
  readonly additional: readonly (readonly Message[])[];
  readonly tools: readonly unknown[];
}

/** Longer texts are cut in their middle, with a note: a judge that gets half a megabyte of tool output reads none of it. */
export const defaultMaxCharacters = 20_000;

export function renderTrajectory(trajectory: Trajectory, maxCharacters = defaultMaxCharacters): Rendered {
  const [first, ...rest] = historiesOf(trajectory);
  const all = first === undefined ? [] : [first, ...rest];
  const readable = (messages: readonly Message[]) =>
    messages.map((message) => shorten(readableMessage(message), maxCharacters));
  return {
    main: readable(first?.messages ?? []),
    additional: rest.map((history) => readable(history.messages)),
    tools: uniqueByText(all.flatMap((history): ModelCall['request']['tools'] => history.tools)),
  };
}

/** How many messages all of them begin with. */
export function commonPrefix(conversations: readonly (readonly Message[])[]): number {
  const [first, ...rest] = conversations;
  if (first === undefined || rest.length === 0) return 0;
  const texts = first.map((message) => JSON.stringify(message));
  const differs = texts.findIndex((text, index) =>
    rest.some((other) => JSON.stringify(other[index]) !== text),
  );
  return differs === -1 ? texts.length : differs;
}

/** Ids of tool calls are random: they tell a judge nothing, and make equal trajectories look different. */
function readableMessage(message: Message): Message {
  const { tool_calls: calls, tool_call_id: _, ...rest } = message;
  if (!Array.isArray(calls)) return rest;
  const readable = (calls as readonly unknown[]).map((call) => {
    if (typeof call !== 'object' || call === null || !('function' in call)) return call;
    return call.function;
  });
  return { ...rest, tool_calls: readable };
}

function shorten(message: Message, maxCharacters: number): Message {
  const cut = (value: unknown): unknown => {
    if (typeof value === 'string') return cutMiddle(value, maxCharacters);
    if (Array.isArray(value)) return value.map(cut);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, cut(inner)]));
  };
  return cut(message) as Message;
}

function cutMiddle(text: string, maxCharacters: number): string {
  if (text.length <= maxCharacters) return text;
  const half = Math.floor(maxCharacters / 2);
  const left = text.length - 2 * half;
  return `${text.slice(0, half)} [… ${String(left)} characters left out …] ${text.slice(-half)}`;
}

function uniqueByText(values: readonly unknown[]): unknown[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
