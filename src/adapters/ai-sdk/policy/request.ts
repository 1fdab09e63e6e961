/** Call options → a chat completion request in vLLM's OpenAI dialect. */
import { askForTokens, wholeDistribution } from '../../../capture/wire/policy-request.ts';
import { toMessages, toTools, type RawArguments } from '../messages.ts';
import { samplingParameters, wireToolChoice } from '../parameters.ts';
import type { CallOptions } from '../specification.ts';

export type RequestBody = Readonly<Record<string, unknown>>;

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
    ...askForTokens(stream),
  };
}
