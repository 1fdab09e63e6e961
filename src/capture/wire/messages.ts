/** OpenAI-style messages as clients send them: for a policy, for the record, and the tool results in them. */
import type { Message, ToolResult } from '../../trajectory/records.ts';

/** A message of a request; what is not named here passes through. */
export interface WireMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly WireToolCall[] | null;
  readonly [key: string]: unknown;
}

interface WireToolCall {
  readonly id?: string;
  readonly function?: { readonly name?: string; readonly arguments?: string };
}

interface WirePart {
  readonly type?: string;
  readonly text?: string;
  readonly [key: string]: unknown;
}

/** Raw tool-call arguments by tool call id, as the model wrote them. */
export type RawArguments = ReadonlyMap<string, string>;

/**
 * The messages as a policy gets them: arguments that a framework wrote anew become again what was sampled, so that the
 * next prompt continues the ids of the last answer; parts of text become one text; `developer` is `system`, which all
 * chat templates know. `leftOut` names the content that no policy can read.
 */
export function policyMessages(
  messages: readonly WireMessage[],
  raw: RawArguments,
): { readonly messages: readonly WireMessage[]; readonly leftOut: readonly string[] } {
  const leftOut = new Set<string>();
  const prepared = messages.map((message) => {
    const { tool_calls: calls, ...rest } = message;
    return {
      ...rest,
      role: message.role === 'developer' ? 'system' : message.role,
      ...('content' in message ? { content: policyContent(message.content, leftOut) } : {}),
      // Some servers answer with an empty list, which others refuse in a request.
      ...(calls == null || calls.length === 0
        ? {}
        : { tool_calls: calls.map((call) => asSampled(call, raw)) }),
    };
  });
  return { messages: prepared, leftOut: [...leftOut] };
}

/** The messages as they are kept: arguments as sampled, files and pictures by their type only. */
export function keptMessages(messages: readonly WireMessage[], raw: RawArguments): Message[] {
  return messages.map((message) => {
    const { tool_calls: calls, content } = message;
    return {
      ...message,
      ...(isParts(content) ? { content: content.map(keptPart) } : {}),
      ...(calls == null ? {} : { tool_calls: calls.map((call) => asSampled(call, raw)) }),
    } as Message;
  });
}

/** The tool results that no model has seen yet: those after the last answer. Older ones are not even looked at. */
export function newToolResults(
  messages: readonly WireMessage[],
): Omit<ToolResult, 'kind' | 'index' | 'at' | 'input'>[] {
  const last = messages.findLastIndex((message) => message.role === 'assistant');
  const results = messages.slice(last + 1).filter((message) => message.role === 'tool');
  return results.map(({ tool_call_id: id = '', content }) => ({
    toolCallId: id,
    toolName: messages[last]?.tool_calls?.find((call) => call.id === id)?.function?.name ?? '',
    output: contentText(content),
    effect: 'unknown',
  }));
}

/** The text of a message, also where it comes in parts. */
export function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  return isParts(content) ? content.map((part) => part.text ?? '').join('') : '';
}

function policyContent(content: unknown, leftOut: Set<string>): unknown {
  if (!isParts(content)) return content;
  const known = content.filter((part) => {
    if (part.type === 'text' || part.type === 'image_url') return true;
    if (part.type === 'refusal') return false;
    leftOut.add(`content of type "${String(part.type)}"`);
    return false;
  });
  return known.every((part) => part.type === 'text') ? contentText(known) : known;
}

function asSampled(call: WireToolCall, raw: RawArguments): WireToolCall {
  const sampled = call.id === undefined ? undefined : raw.get(call.id);
  if (sampled === undefined || sampled === call.function?.arguments) return call;
  return { ...call, function: { ...call.function, arguments: sampled } };
}

function keptPart(part: WirePart): WirePart {
  const { type } = part;
  if (type === 'text' || type === 'refusal') return part;
  const url = (part['image_url'] as { readonly url?: unknown } | undefined)?.url;
  if (type === 'image_url' && typeof url === 'string' && !url.startsWith('data:')) return part;
  return { ...(type === undefined ? {} : { type }), omitted: true };
}

function isParts(content: unknown): content is readonly WirePart[] {
  return Array.isArray(content) && content.every((part) => typeof part === 'object' && part !== null);
}
