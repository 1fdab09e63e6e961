/**
 * A trajectory without its repetitions, and back, without loss. Calls of one run repeat their history: messages, tools
 * and prompt ids that equal the beginning of what the call before had are written as a count.
 */
import equal from 'fast-deep-equal';
import { z } from 'zod';
import { message, modelCall, tokens, toolResult, trajectory } from '../trajectory/records.ts';
import type { ModelCall, Trajectory, TrajectoryEvent } from '../trajectory/records.ts';

const kept = z.int().nonnegative();
export const compactCall = modelCall.extend({
  request: modelCall.shape.request.extend({
    messages: z.object({ kept, added: z.array(message) }),
    /** null: as in the call before. */
    tools: modelCall.shape.request.shape.tools.unwrap().nullable(),
  }),
  tokens: tokens.extend({ promptIds: z.object({ kept, added: tokens.shape.promptIds }) }).nullable(),
});

/** The compact form, for validation where it is written. */
export const compactTrajectory = trajectory.extend({
  events: z.array(z.discriminatedUnion('kind', [compactCall, toolResult])),
});
export type CompactTrajectory = z.infer<typeof compactTrajectory>;
type CompactCall = z.infer<typeof compactCall>;

/** What a call can repeat of the one before: lists in their order, not joined, because joining would copy them. */
interface Seen {
  readonly messages: readonly (readonly unknown[])[];
  readonly tools: readonly unknown[];
  readonly ids: readonly (readonly number[])[];
}
const nothingSeen: Seen = { messages: [], tools: [], ids: [] };

/** Trajectory → compact form; shares everything that it keeps with the trajectory. */
export function toCompact(from: Trajectory): CompactTrajectory {
  let seen = nothingSeen;
  const events = from.events.map((one): CompactTrajectory['events'][number] => {
    if (one.kind !== 'model-call') return one;
    const compact = compactCallOf(one, seen);
    const { message: answer } = one.response;
    seen = {
      messages: answer === null ? [one.request.messages] : [one.request.messages, [answer]],
      tools: one.request.tools,
      ids: one.tokens === null ? [] : [one.tokens.promptIds, one.tokens.completionIds],
    };
    return compact;
  });
  return { ...from, events };
}

function compactCallOf(call: ModelCall, seen: Seen): CompactCall {
  const { request, tokens: sampled } = call;
  const messages = commonLength(seen.messages, request.messages);
  const ids = sampled === null ? 0 : commonLength(seen.ids, sampled.promptIds);
  return {
    ...call,
    request: {
      ...request,
      messages: { kept: messages, added: request.messages.slice(messages) },
      tools: equal(request.tools, seen.tools) ? null : request.tools,
    },
    tokens:
      sampled === null ? null : { ...sampled, promptIds: { kept: ids, added: sampled.promptIds.slice(ids) } },
  };
}

/** The inverse of `toCompact`; to be validated by the caller where it comes from outside. */
export function fromCompact(compact: CompactTrajectory): Trajectory {
  let messages: z.infer<typeof message>[] = [];
  let tools: ModelCall['request']['tools'] = [];
  let ids: number[] = [];
  const events = compact.events.map((one): TrajectoryEvent => {
    if (one.kind !== 'model-call') return one;
    const { request, tokens: sampled } = one;
    const own = [...messages.slice(0, request.messages.kept), ...request.messages.added];
    tools = request.tools ?? tools;
    const promptIds =
      sampled === null ? [] : [...ids.slice(0, sampled.promptIds.kept), ...sampled.promptIds.added];
    messages = withAnswer(own, one.response.message);
    ids = sampled === null ? [] : [...promptIds, ...sampled.completionIds];
    return {
      ...one,
      request: { ...request, messages: own, tools },
      tokens: sampled === null ? null : { ...sampled, promptIds },
    };
  });
  return { ...compact, events };
}

function withAnswer<T>(messages: T[], answer: T | null): T[] {
  return answer === null ? messages : [...messages, answer];
}

/** How many of `now` the lists before, one after the other, begin with. */
function commonLength(before: readonly (readonly unknown[])[], now: readonly unknown[]): number {
  let length = 0;
  for (const list of before) {
    for (const one of list) {
      if (length === now.length || !equal(one, now[length])) return length;
      length += 1;
    }
  }
  return length;
}
