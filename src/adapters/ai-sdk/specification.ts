/**
 * What the adapter needs of the AI SDK's language model specifications V2, V3 and V4: shapes only, so that no version
 * of `ai` is imported. Parts and options that are not named here pass through untouched.
 */
import type { CallAnswer } from '../../capture/capture.ts';

export type SpecificationVersion = 'v2' | 'v3' | 'v4';

export interface ToolOutput {
  readonly type: string;
  readonly value?: unknown;
  readonly reason?: string;
}

export interface PromptPart {
  readonly type: string;
  readonly text?: string;
  readonly toolCallId?: string;
  readonly toolName?: string;
  readonly input?: unknown;
  readonly output?: ToolOutput;
  readonly mediaType?: string;
  readonly data?: unknown;
}

export interface PromptMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string | readonly PromptPart[];
}

export interface FunctionTool {
  readonly type: string;
  readonly name: string;
  readonly description?: string;
  readonly inputSchema?: unknown;
}

export interface CallOptions {
  readonly prompt: readonly PromptMessage[];
  readonly tools?: readonly FunctionTool[];
  readonly toolChoice?: { readonly type: 'auto' | 'none' | 'required' | 'tool'; readonly toolName?: string };
  readonly responseFormat?: {
    readonly type: 'text' | 'json';
    readonly schema?: unknown;
    readonly name?: string;
  };
  readonly maxOutputTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly stopSequences?: readonly string[];
  readonly seed?: number;
  /** V4 only. */
  readonly reasoning?: string;
  readonly includeRawChunks?: boolean;
  readonly abortSignal?: AbortSignal;
}

/** A content or stream part; `type` tells which. */
export interface Part {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface GenerateResult {
  readonly content: readonly Part[];
  readonly finishReason: unknown;
  readonly usage: unknown;
  readonly response?: { readonly id?: string | undefined; readonly modelId?: string | undefined };
  readonly [key: string]: unknown;
}

export interface StreamResult {
  readonly stream: ReadableStream<Part>;
  readonly [key: string]: unknown;
}

export interface LanguageModelLike {
  readonly specificationVersion: string;
  readonly provider: string;
  readonly modelId: string;
  readonly supportedUrls: unknown;
  doGenerate(options: CallOptions): PromiseLike<GenerateResult>;
  doStream(options: CallOptions): PromiseLike<StreamResult>;
}

/** Only language models have all three; image, speech and transcription models have some of them. */
export function isLanguageModel(value: unknown): value is LanguageModelLike {
  return (
    typeof value === 'object' &&
    value !== null &&
    'doGenerate' in value &&
    typeof value.doGenerate === 'function' &&
    'doStream' in value &&
    typeof value.doStream === 'function' &&
    'supportedUrls' in value
  );
}

export function knownVersion(value: string): SpecificationVersion | undefined {
  return value === 'v2' || value === 'v3' || value === 'v4' ? value : undefined;
}

/** `stop`, `length`, … whichever shape the specification has for it. */
export function finishReasonText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'object' && value !== null && 'unified' in value) return String(value.unified);
  return undefined;
}

/** Token counts of a usage object, flat as in V2 or nested as in V3 and V4; undefined where it tells none. */
export function usageCounts(value: unknown): NonNullable<CallAnswer['usage']> {
  const input = field(value, 'inputTokens');
  const output = field(value, 'outputTokens');
  return {
    inputTokens: count(field(input, 'total') ?? input),
    outputTokens: count(field(output, 'total') ?? output),
    cachedInputTokens: count(field(input, 'cacheRead') ?? field(value, 'cachedInputTokens')),
    cacheWriteTokens: count(field(input, 'cacheWrite')),
  };
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Readonly<Record<string, unknown>>)[key]
    : undefined;
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : undefined;
}
