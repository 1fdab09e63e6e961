/** The AI SDK's prompt and answers as OpenAI-style messages. */
import type { Message } from '../../trajectory/records.ts';
import type { CallOptions, Part, PromptMessage, PromptPart, ToolOutput } from './specification.ts';

/** Raw tool-call arguments by tool call id, as the model wrote them. */
export type RawArguments = ReadonlyMap<string, string>;

/**
 * Prompt → messages. The AI SDK parses tool arguments and writes them anew; where the raw text is known it is put back
 * verbatim, so that the next prompt continues the ids that were sampled.
 *
 * @param purpose `send` to a policy: images go along, other files are left out. `keep` in a record: files are named only
 */
export function toMessages(
  prompt: readonly PromptMessage[],
  raw: RawArguments,
  purpose: 'send' | 'keep' = 'keep',
): Message[] {
  const messages: Message[] = [];
  for (const { role, content } of prompt) {
    if (typeof content === 'string') {
      messages.push({ role, content });
      continue;
    }
    switch (role) {
      case 'system':
      case 'user':
        messages.push({ role, content: userContent(content, purpose) });
        break;
      case 'assistant':
        messages.push(messageOf(content, raw));
        break;
      case 'tool':
        for (const part of content) if (part.type === 'tool-result') messages.push(toolMessage(part));
        break;
      default:
        role satisfies never;
    }
  }
  return messages;
}

/** An answer's content parts as one assistant message. */
export function answerMessage(parts: readonly Part[]): Message {
  return messageOf(parts, noArguments);
}

const noArguments: RawArguments = new Map();

/** One assistant message; tool arguments as in `raw`, and as they stand where they are not there. */
function messageOf(parts: readonly (Part | PromptPart)[], raw: RawArguments): Message {
  let content = '';
  let reasoning: string | undefined;
  let calls: ReturnType<typeof toolCall>[] | undefined;
  for (const part of parts) {
    const { type, text } = part;
    if (type === 'tool-call') {
      const { toolCallId, toolName, input } = part;
      const id = String(toolCallId);
      (calls ??= []).push(toolCall(id, String(toolName), raw.get(id) ?? asText(input)));
    } else if (typeof text !== 'string') continue;
    else if (type === 'text') content += text;
    else if (type === 'reasoning') reasoning = (reasoning ?? '') + text;
  }
  const message: Message = { role: 'assistant', content };
  if (reasoning !== undefined) message['reasoning'] = reasoning;
  if (calls !== undefined) message['tool_calls'] = calls;
  return message;
}

/** What a tool gave back, as text for the model. */
export function outputText(output: ToolOutput | undefined): string {
  if (output === undefined) return '';
  switch (output.type) {
    case 'text':
    case 'error-text':
      return String(output.value);
    case 'execution-denied':
      return output.reason ?? 'The user denied this tool call.';
    default:
      return JSON.stringify(output.value ?? null);
  }
}

/** Function tools in OpenAI's form; hosted tools cannot be given to a policy. */
export function toTools(tools: CallOptions['tools']): WireTool[] {
  return (tools ?? []).flatMap((tool) =>
    tool.type === 'function'
      ? [
          {
            type: 'function',
            function: {
              name: tool.name,
              ...(tool.description === undefined ? {} : { description: tool.description }),
              parameters: tool.inputSchema ?? {},
            },
          },
        ]
      : [],
  );
}

type JsonObject = Record<string, NonNullable<Message['content']>>;

export interface WireTool {
  readonly type: 'function';
  readonly function: { readonly name: string; readonly description?: string; readonly parameters: unknown };
}

function asText(input: unknown): string {
  return typeof input === 'string' ? input : JSON.stringify(input ?? {});
}

function toolCall(
  id: string,
  name: string,
  text: string,
): { id: string; type: string; function: { name: string; arguments: string } } {
  return { id, type: 'function', function: { name, arguments: text } };
}

function toolMessage(part: PromptPart): Message {
  return { role: 'tool', tool_call_id: part.toolCallId ?? '', content: outputText(part.output) };
}

function userContent(content: readonly PromptPart[], purpose: 'send' | 'keep'): Message['content'] {
  if (content.every((part) => part.type === 'text')) return content.map((part) => part.text ?? '').join('');
  return content.flatMap((part): JsonObject[] => {
    if (part.type === 'text') return [{ type: 'text', text: part.text ?? '' }];
    if (purpose === 'keep')
      return [{ type: part.type, mediaType: part.mediaType ?? 'unknown', omitted: true }];
    const url = imageUrl(part);
    return url === undefined ? [] : [{ type: 'image_url', image_url: { url } }];
  });
}

/** An image part as a URL, a data URL where it came as bytes; undefined for everything else. */
export function imageUrl({ mediaType, data }: PromptPart): string | undefined {
  if (mediaType?.startsWith('image/') !== true) return undefined;
  // V4 tags what it carries.
  const tagged = typeof data === 'object' && data !== null && 'type' in data;
  const inner: unknown = tagged ? Reflect.get(data, data.type === 'url' ? 'url' : 'data') : data;
  const type = mediaType === 'image/*' ? 'image/jpeg' : mediaType;
  if (inner instanceof URL) return inner.href;
  if (inner instanceof Uint8Array) return `data:${type};base64,${Buffer.from(inner).toString('base64')}`;
  if (typeof inner !== 'string') return undefined;
  return /^(https?|data):/.test(inner) ? inner : `data:${type};base64,${inner}`;
}
