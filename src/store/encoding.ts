/**
 * A trajectory as compact JSON text and back, without loss. Calls of one run repeat their history: messages, tools and
 * prompt ids that equal the beginning of what the call before had are written as a count.
 */
import type { Trajectory } from '../trajectory/records.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

interface Seen {
  readonly messages: readonly string[];
  readonly tools: string;
  readonly ids: readonly number[];
}

const nothingSeen: Seen = { messages: [], tools: '[]', ids: [] };

/** Trajectory → JSON text. */
export function encodeTrajectory(trajectory: Trajectory): string {
  let seen = nothingSeen;
  const events = trajectory.events.map((event) => {
    if (event.kind !== 'model-call') return event;
    const messages = event.request.messages.map((message) => JSON.stringify(message));
    const tools = JSON.stringify(event.request.tools);
    const kept = commonLength(seen.messages, messages);
    const { tokens } = event;
    const keptIds = tokens === null ? 0 : commonLength(seen.ids, tokens.promptIds);
    const sameTools = tools === seen.tools;
    seen = {
      messages:
        event.response.message === null ? messages : [...messages, JSON.stringify(event.response.message)],
      tools,
      ids: tokens === null ? [] : [...tokens.promptIds, ...tokens.completionIds],
    };
    return {
      ...event,
      request: {
        ...event.request,
        messages: { kept, added: event.request.messages.slice(kept) },
        tools: sameTools ? null : event.request.tools,
      },
      tokens:
        tokens === null
          ? null
          : { ...tokens, promptIds: { kept: keptIds, added: tokens.promptIds.slice(keptIds) } },
    };
  });
  return JSON.stringify({ ...trajectory, events });
}

interface EncodedCall {
  kind: string;
  request: { messages: { kept: number; added: Json[] }; tools: Json[] | null };
  response: { message: Json };
  tokens: { promptIds: { kept: number; added: number[] }; completionIds: number[] } | null;
}

/** The inverse of `encodeTrajectory`; gives plain JSON, to be validated by the caller. */
export function decodeTrajectory(text: string): unknown {
  const decoded = JSON.parse(text) as { events: (EncodedCall | { kind: string })[] };
  let messages: Json[] = [];
  let tools: Json[] = [];
  let ids: number[] = [];
  const events = decoded.events.map((event) => {
    if (!('request' in event)) return event;
    const own = [...messages.slice(0, event.request.messages.kept), ...event.request.messages.added];
    tools = event.request.tools ?? tools;
    const promptIds =
      event.tokens === null
        ? []
        : [...ids.slice(0, event.tokens.promptIds.kept), ...event.tokens.promptIds.added];
    messages = event.response.message === null ? own : [...own, event.response.message];
    ids = event.tokens === null ? [] : [...promptIds, ...event.tokens.completionIds];
    return {
      ...event,
      request: { ...event.request, messages: own, tools },
      tokens: event.tokens === null ? null : { ...event.tokens, promptIds },
    };
  });
  return { ...decoded, events };
}

function commonLength<T>(before: readonly T[], now: readonly T[]): number {
  const bound = Math.min(before.length, now.length);
  let length = 0;
  while (length < bound && before[length] === now[length]) length += 1;
  return length;
}
