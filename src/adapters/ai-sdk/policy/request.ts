/** Call options → a chat completion request in vLLM's OpenAI dialect. */
import { toMessages, toTools, type RawArguments } from '../messages.ts';
import { samplingParameters, wireToolChoice } from '../parameters.ts';
import type { CallOptions } from '../specification.ts';

export type RequestBody = Readonly<Record<string, unknown>>;

/**
 * What is sampled where the caller says nothing. Said aloud, because a server may have other defaults, and tokens can
 * only be trained on where the policy's own distribution was sampled.
 */
const wholeDistribution = { temperature: 1, top_p: 1 };

/** The sampling parameters of a policy call, for the request and for the record. */
export function policyParameters(options: CallOptions): RequestBody {
  return { ...wholeDistribution, ...samplingParameters(options) };
}

/** The body; asks for token ids and log-probabilities. */
export function requestBody(
  options: CallOptions,
  model: string,
  raw: RawArguments,
  stream: boolean,
): RequestBody {
  const tools = toTools(options.tools);
  return {
    model,
    messages: toMessages(options.prompt, raw, 'send'),
    ...(tools.length === 0
      ? {}
      : { tools, tool_choice: wireToolChoice(options.toolChoice ?? { type: 'auto' }) }),
    ...policyParameters(options),
    logprobs: true,
    return_token_ids: true,
    stream,
    ...(stream ? { stream_options: { include_usage: true } } : {}),
  };
}
