/** What the record is told of an answer: of a whole message, of chunks, of a stream of content blocks. */
import type { CallAnswer } from '../../capture/capture.ts';
import type { ActiveRun } from '../../capture/run.ts';
import type { Usage } from '../../trajectory/records.ts';
import { answerMessage, argumentText } from './messages.ts';
import { isObject, type BlockEvent, type MessageLike, type ToolCallLike, type UsageLike } from './shapes.ts';

/** The answer of a call that did not stream. */
export function wholeAnswer(run: ActiveRun, message: MessageLike): CallAnswer {
  noteArguments(run, writtenCalls(message));
  noteArguments(run, message.tool_calls ?? []);
  noteArguments(run, message.invalid_tool_calls ?? []);
  const { id, response_metadata: about } = message;
  return {
    message: () => answerMessage(message, run.rawArguments),
    usage: usageOf(message.usage_metadata),
    ...(id === undefined ? {} : { responseId: id }),
    ...named('respondedModel', about?.['model_name'] ?? about?.['model']),
    ...named('finishReason', about?.['finish_reason'] ?? about?.['stop_reason']),
  };
}

/** The answer in a model's chunks, however many have come. Chunks are kept by reference and joined when it is read. */
export function chunkedAnswer(run: ActiveRun, chunks: readonly MessageLike[]): CallAnswer {
  return wholeAnswer(run, joinChunks(chunks));
}

/** The answer in the events of a stream of content blocks. */
export function eventAnswer(run: ActiveRun, events: readonly BlockEvent[]): CallAnswer {
  return wholeAnswer(run, joinEvents(events));
}

/** In time that grows with the length of the answer; LangChain's own `concat` copies what it has at each chunk. */
export function joinChunks(chunks: readonly MessageLike[]): MessageLike {
  const content: unknown[] = [];
  const calls = new Map<string, { id?: string; name?: string; args: string }>();
  const whole: ToolCallLike[] = [];
  let about: Record<string, unknown> = {};
  let reasoning = '';
  let id: string | undefined;
  let usage: MessageLike['usage_metadata'];
  for (const chunk of chunks) {
    id ??= chunk.id;
    if (chunk.usage_metadata !== undefined) usage = addUsage(usage, chunk.usage_metadata);
    if (chunk.response_metadata !== undefined) about = { ...about, ...chunk.response_metadata };
    if (typeof chunk.content === 'string') content.push(chunk.content);
    else if (Array.isArray(chunk.content)) content.push(...(chunk.content as unknown[]));
    const thought = chunk.additional_kwargs?.['reasoning_content'];
    if (typeof thought === 'string') reasoning += thought;
    for (const piece of chunk.tool_call_chunks ?? []) addPiece(calls, piece);
    if (chunk.tool_call_chunks === undefined) whole.push(...(chunk.tool_calls ?? []));
  }
  return {
    ...(id === undefined ? {} : { id }),
    content,
    tool_calls: [...whole, ...calls.values()],
    response_metadata: about,
    ...(usage === undefined ? {} : { usage_metadata: usage }),
    ...(reasoning === '' ? {} : { additional_kwargs: { reasoning_content: reasoning } }),
  };
}

function joinEvents(events: readonly BlockEvent[]): MessageLike {
  const content: unknown[] = [];
  const calls: ToolCallLike[] = [];
  let about: Record<string, unknown> = {};
  let id: string | undefined;
  let usage: MessageLike['usage_metadata'];
  for (const event of events) {
    usage = event.usage ?? usage;
    if (event.event === 'message-start') id = event.id;
    if (event.event === 'message-finish')
      about = {
        ...event.responseMetadata,
        ...(event.reason === undefined ? {} : { finish_reason: event.reason }),
      };
    if (event.event !== 'content-block-finish' || !isObject(event.content)) continue;
    const { type } = event.content;
    if (type === 'tool_call' || type === 'invalid_tool_call') calls.push(event.content);
    else content.push(event.content);
  }
  return {
    ...(id === undefined ? {} : { id }),
    content,
    tool_calls: calls,
    response_metadata: about,
    ...(usage === undefined ? {} : { usage_metadata: usage }),
  };
}

function addPiece(
  calls: Map<string, { id?: string; name?: string; args: string }>,
  piece: ToolCallLike & { readonly index?: number },
): void {
  const key = String(piece.index ?? piece.id);
  let call = calls.get(key);
  if (call === undefined) calls.set(key, (call = { args: '' }));
  if (piece.id !== undefined) call.id ??= piece.id;
  if (piece.name !== undefined) call.name ??= piece.name;
  if (typeof piece.args === 'string') call.args += piece.args;
}

function addUsage(one: UsageLike | undefined, other: UsageLike): UsageLike {
  const [left = {}, right = {}] = [one?.input_token_details, other.input_token_details];
  return {
    input_tokens: (one?.input_tokens ?? 0) + (other.input_tokens ?? 0),
    output_tokens: (one?.output_tokens ?? 0) + (other.output_tokens ?? 0),
    input_token_details: {
      cache_read: (left.cache_read ?? 0) + (right.cache_read ?? 0),
      cache_creation: (left.cache_creation ?? 0) + (right.cache_creation ?? 0),
    },
  };
}

/** The tool calls as the model wrote them, which the classes of OpenAI's dialect keep beside the parsed ones. */
function writtenCalls({ additional_kwargs: more }: MessageLike): ToolCallLike[] {
  const calls = more?.['tool_calls'];
  if (!Array.isArray(calls)) return [];
  return calls.flatMap((call: unknown) => {
    const called = isObject(call) ? call['function'] : undefined;
    if (!isObject(call) || !isObject(called)) return [];
    const { id } = call;
    return typeof id === 'string' ? [{ id, args: called['arguments'] }] : [];
  });
}

function noteArguments(run: ActiveRun, calls: readonly ToolCallLike[]): void {
  for (const call of calls) {
    if (call.id !== undefined && !run.rawArguments.has(call.id))
      run.rawArguments.set(call.id, argumentText(call));
  }
}

function usageOf(usage: UsageLike | undefined): Usage {
  const { cache_read: read, cache_creation: written } = usage?.input_token_details ?? {};
  return {
    ...(isCount(usage?.input_tokens) ? { inputTokens: usage.input_tokens } : {}),
    ...(isCount(usage?.output_tokens) ? { outputTokens: usage.output_tokens } : {}),
    // 0 is what most of them say, and tells nothing.
    ...(isCount(read) && read > 0 ? { cachedInputTokens: read } : {}),
    ...(isCount(written) && written > 0 ? { cacheWriteTokens: written } : {}),
  };
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

function named<K extends string>(key: K, value: unknown): Partial<Record<K, string>> {
  return typeof value === 'string' ? ({ [key]: value } as Record<K, string>) : {};
}
