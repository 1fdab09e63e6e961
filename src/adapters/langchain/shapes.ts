/**
 * What the adapter needs of LangChain: shapes only, so that it works with the copy of `@langchain/core` that the user's
 * agent has, or with several copies, and imports none.
 */

/** A function whose receiver and arguments are LangChain's affair. */
export type Method = (this: unknown, ...given: unknown[]) => unknown;

/** A runnable that answers as a chat model: a chat model, or one with tools or settings bound to it. */
export interface ChatRunnable {
  readonly lc_runnable: true;
  readonly [key: string]: unknown;
}

/** A runnable's call options; those of LangGraph nodes have more. */
export interface CallConfig {
  readonly configurable?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly signal?: AbortSignal;
  readonly runId?: unknown;
  /** Made once for each run of a graph and handed on to its nodes, subgraphs and tools. */
  readonly writer?: unknown;
  readonly [key: string]: unknown;
}

export interface ToolCallLike {
  readonly id?: string;
  readonly name?: string;
  /** An object; raw text where the arguments could not be parsed. */
  readonly args?: unknown;
}

/** A message; of whichever class and copy. */
export interface MessageLike {
  readonly id?: string;
  readonly name?: string;
  readonly content?: unknown;
  readonly tool_calls?: readonly ToolCallLike[];
  readonly invalid_tool_calls?: readonly ToolCallLike[];
  readonly tool_call_chunks?: readonly (ToolCallLike & { readonly index?: number })[];
  readonly tool_call_id?: string;
  readonly status?: string;
  readonly artifact?: unknown;
  readonly additional_kwargs?: Readonly<Record<string, unknown>>;
  readonly response_metadata?: Readonly<Record<string, unknown>>;
  readonly usage_metadata?: UsageLike;
}

export interface UsageLike {
  readonly input_tokens?: number;
  readonly output_tokens?: number;
  /** Parts of `input_tokens`, where a provider tells them. */
  readonly input_token_details?: { readonly cache_read?: number; readonly cache_creation?: number };
}

/** What happens in a model's stream of content blocks (`streamEvents`, version 3). */
export interface BlockEvent {
  readonly event: string;
  readonly id?: string;
  readonly index?: number;
  readonly content?: unknown;
  readonly reason?: string;
  readonly usage?: UsageLike;
  readonly responseMetadata?: Readonly<Record<string, unknown>>;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** A chat model, or a binding around one, or a model that is only made when it is called (`initChatModel`). */
export function isChatRunnable(value: unknown): value is ChatRunnable {
  if (!isObject(value) || value['lc_runnable'] !== true || typeof value['invoke'] !== 'function')
    return false;
  return isChatModel(value) || isChatRunnable(value['bound']) || isConfigurable(value);
}

export function isChatModel(value: unknown): boolean {
  return (
    isObject(value) && typeof value['_generate'] === 'function' && typeof value['_llmType'] === 'function'
  );
}

/** What `initChatModel` gives. */
export function isConfigurable(value: unknown): boolean {
  return isObject(value) && typeof value['_getModelInstance'] === 'function';
}

export function methodOf(target: object, name: string): Method | undefined {
  const value: unknown = Reflect.get(target, name, target);
  return typeof value === 'function' ? (value as Method) : undefined;
}

/** `human`, `ai`, `system`, `tool`, … or undefined where `value` is no message object. */
export function messageType(value: unknown): string | undefined {
  if (!isObject(value)) return undefined;
  const ask = value['getType'] ?? value['_getType'];
  if (typeof ask === 'function') return String((ask as Method).call(value));
  return typeof value['type'] === 'string' && 'content' in value ? value['type'] : undefined;
}
