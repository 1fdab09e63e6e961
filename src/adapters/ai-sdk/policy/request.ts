/** Call options → a chat completion request in vLLM's OpenAI dialect. */
import { toMessages, toTools, type RawArguments } from '../messages.ts';
import type { CallOptions } from '../specification.ts';

export type RequestBody = Readonly<Record<string, unknown>>;

/** Settings that the caller gave and that a policy cannot honour; reported as warnings, as AI SDK providers do. */
export function unsupportedSettings(options: CallOptions): string[] {
  const unsupported: string[] = [];
  if (options.topK !== undefined) unsupported.push('topK');
  if (options.presencePenalty !== undefined && options.presencePenalty !== 0)
    unsupported.push('presencePenalty');
  if (options.frequencyPenalty !== undefined && options.frequencyPenalty !== 0)
    unsupported.push('frequencyPenalty');
  return unsupported;
}

/** The body; asks for token ids and log-probabilities. Policies are sampled at temperature 1 unless the caller says. */
export function requestBody(
  options: CallOptions,
  model: string,
  raw: RawArguments,
  stream: boolean,
): RequestBody {
  const tools = toTools(options.tools);
  return {
    model,
    messages: toMessages(options.prompt, raw),
    ...(tools.length === 0 ? {} : { tools, tool_choice: toolChoice(options.toolChoice) }),
    ...samplingParameters(options),
    logprobs: true,
    return_token_ids: true,
    stream,
    ...(stream ? { stream_options: { include_usage: true } } : {}),
  };
}

/** The sampling parameters under their OpenAI names: for the request and for the record. */
export function samplingParameters(options: CallOptions): RequestBody {
  const format = options.responseFormat;
  const given = {
    max_tokens: options.maxOutputTokens,
    temperature: options.temperature,
    top_p: options.topP,
    seed: options.seed,
    stop: options.stopSequences,
    response_format: format?.type === 'json' ? responseFormat(format) : undefined,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function responseFormat(format: { readonly schema?: unknown; readonly name?: string }): unknown {
  if (format.schema === undefined) return { type: 'json_object' };
  return { type: 'json_schema', json_schema: { name: format.name ?? 'answer', schema: format.schema } };
}

function toolChoice(choice: CallOptions['toolChoice']): unknown {
  if (choice === undefined) return 'auto';
  if (choice.type !== 'tool') return choice.type;
  return { type: 'function', function: { name: choice.toolName } };
}
