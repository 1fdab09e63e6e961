/** LangChain's messages and answers as OpenAI-style messages. */
import type { Message } from '../../trajectory/records.ts';
import { isObject, messageType, type MessageLike, type Method, type ToolCallLike } from './shapes.ts';

/** Raw tool-call arguments by tool call id, as the model wrote them. */
type RawArguments = ReadonlyMap<string, string>;

const roles: Readonly<Record<string, string>> = {
  human: 'user',
  ai: 'assistant',
  AIMessageChunk: 'assistant',
};

/** Whatever a chat model takes as its input → messages. */
export function toMessages(input: unknown, raw: RawArguments): Message[] {
  return inputMessages(input).map((one) => toMessage(one, raw));
}

/** The messages of an input, as they are; a string stands for itself. */
export function inputMessages(input: unknown): readonly unknown[] {
  if (typeof input === 'string') return [input];
  if (Array.isArray(input)) return input;
  if (!isObject(input)) return [];
  if (typeof input['toChatMessages'] === 'function')
    return (input['toChatMessages'] as Method).call(input) as readonly unknown[];
  return [input];
}

export function toMessage(given: unknown, raw: RawArguments): Message {
  if (typeof given === 'string') return { role: 'user', content: given };
  // ['human', 'text']
  if (Array.isArray(given)) return { role: roleOf(String(given[0])), content: plainContent(given[1]) };
  if (!isObject(given)) return { role: 'unknown', content: String(given) };
  const message = given as MessageLike & { readonly role?: unknown };
  const role = roleOf(typeof message.role === 'string' ? message.role : (messageType(given) ?? 'unknown'));
  if (role === 'assistant') return answerMessage(message, raw);
  return {
    role,
    content: plainContent(message.content),
    ...(role === 'tool' ? { tool_call_id: message.tool_call_id ?? '' } : {}),
  };
}

/** An answer; its tool calls with the arguments as the model wrote them, where that is known. */
export function answerMessage(message: MessageLike, raw: RawArguments): Message {
  const calls = [...(message.tool_calls ?? []), ...(message.invalid_tool_calls ?? [])];
  const reasoning = reasoningOf(message);
  return {
    role: 'assistant',
    content: plainContent(withoutCalls(message.content)),
    ...(reasoning === '' ? {} : { reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls.map((call) => wireToolCall(call, raw)) }),
  };
}

/** What a model wrote as the arguments of a call: raw text, or written anew where LangChain has parsed it. */
export function argumentText(call: ToolCallLike): string {
  return typeof call.args === 'string' ? call.args : JSON.stringify(call.args ?? {});
}

/** Text as it is, blocks that are all text as one text; other blocks by their kind only. */
export function plainContent(content: unknown): string | Record<string, string | boolean>[] {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content))
    return content === undefined || content === null ? '' : JSON.stringify(content);
  const blocks = content as readonly unknown[];
  const texts = blocks.map(blockText);
  if (texts.every((text) => text !== undefined)) return texts.join('');
  return blocks.map((block, index) => {
    const text = texts[index];
    if (text !== undefined) return { type: 'text', text };
    return { type: isObject(block) ? String(block['type']) : 'unknown', omitted: true };
  });
}

function blockText(block: unknown): string | undefined {
  if (typeof block === 'string') return block;
  return isObject(block) && typeof block['text'] === 'string' ? block['text'] : undefined;
}

/** Some providers repeat tool calls, and reasoning, as blocks of the content. */
const told = new Set([
  'tool_use',
  'tool_call',
  'tool_call_chunk',
  'input_json_delta',
  'reasoning',
  'thinking',
]);

function withoutCalls(content: unknown): unknown {
  if (!Array.isArray(content)) return content;
  return content.filter((block: unknown) => !(isObject(block) && told.has(String(block['type']))));
}

function reasoningOf({ additional_kwargs: more, content }: MessageLike): string {
  const said = more?.['reasoning_content'] ?? more?.['reasoning'];
  if (typeof said === 'string') return said;
  if (!Array.isArray(content)) return '';
  return content
    .map((block: unknown) => {
      if (!isObject(block)) return '';
      const text = block['reasoning'] ?? block['thinking'];
      return typeof text === 'string' ? text : '';
    })
    .join('');
}

function roleOf(type: string): string {
  return roles[type] ?? type;
}

function wireToolCall(
  call: ToolCallLike,
  raw: RawArguments,
): { id: string; type: string; function: { name: string; arguments: string } } {
  const { id = '', name = '' } = call;
  return { id, type: 'function', function: { name, arguments: raw.get(id) ?? argumentText(call) } };
}
