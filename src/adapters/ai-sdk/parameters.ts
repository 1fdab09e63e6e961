/** The settings of a call under their OpenAI names: for the record, and in part for the policy's request. */
import type { CallOptions } from './specification.ts';

export type Parameters = Readonly<Record<string, unknown>>;

/** Every setting that the caller gave. */
export function givenParameters(options: CallOptions): Parameters {
  return defined({
    ...samplingParameters(options),
    top_k: options.topK,
    presence_penalty: options.presencePenalty,
    frequency_penalty: options.frequencyPenalty,
    reasoning: options.reasoning,
    tool_choice: options.toolChoice === undefined ? undefined : wireToolChoice(options.toolChoice),
  });
}

/** The settings that a policy honours. */
export function samplingParameters(options: CallOptions): Parameters {
  const format = options.responseFormat;
  return defined({
    max_tokens: options.maxOutputTokens,
    temperature: options.temperature,
    top_p: options.topP,
    seed: options.seed,
    stop: options.stopSequences,
    response_format: format?.type === 'json' ? responseFormat(format) : undefined,
  });
}

export function wireToolChoice(choice: NonNullable<CallOptions['toolChoice']>): unknown {
  if (choice.type !== 'tool') return choice.type;
  return { type: 'function', function: { name: choice.toolName } };
}

function responseFormat(format: { readonly schema?: unknown; readonly name?: string }): unknown {
  if (format.schema === undefined) return { type: 'json_object' };
  return { type: 'json_schema', json_schema: { name: format.name ?? 'answer', schema: format.schema } };
}

function defined(values: Parameters): Parameters {
  const known: Record<string, unknown> = {};
  for (const key in values) if (values[key] !== undefined) known[key] = values[key];
  return known;
}
