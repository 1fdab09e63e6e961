/** One plain call to a policy. */
import type { CallEnd } from '../../../capture/capture.ts';
import { answerMessage } from '../messages.ts';
import type { GenerateResult, Part, SpecificationVersion } from '../specification.ts';
import type { RequestBody } from './request.ts';
import { finishReason, usage, warnings } from './shapes.ts';
import type { Unsupported } from './unsupported.ts';
import type { Completion } from './wire.ts';

/** The answer's content parts: reasoning, text, tool calls, in the order in which models write them. */
export function contentParts(answer: Completion): Part[] {
  const message = answer.choices[0]?.message;
  const reasoning = message?.reasoning ?? message?.reasoning_content ?? '';
  const text = message?.content ?? '';
  return [
    ...(reasoning === '' ? [] : [{ type: 'reasoning', text: reasoning }]),
    ...(text === '' ? [] : [{ type: 'text', text }]),
    ...(message?.tool_calls ?? []).map((call) => ({
      type: 'tool-call',
      toolCallId: call.id,
      toolName: call.function.name,
      input: call.function.arguments,
    })),
  ];
}

/** The answer in the shape of the specification. Token ids stay out of the user's objects. */
export function generateResult(
  version: SpecificationVersion,
  answer: Completion,
  body: RequestBody,
  found: readonly Unsupported[],
): GenerateResult {
  const created = answer.created === undefined ? {} : { timestamp: new Date(answer.created * 1000) };
  return {
    content: contentParts(answer),
    finishReason: finishReason(version, answer.choices[0]?.finish_reason),
    usage: usage(version, answer.usage),
    warnings: warnings(version, found),
    request: { body },
    response: { id: answer.id, modelId: answer.model, ...created },
  };
}

/** What the recorder is told of the answer. */
export function generateRecord(answer: Completion): Omit<CallEnd, 'outcome'> {
  const choice = answer.choices[0];
  const { prompt_tokens: inputTokens, completion_tokens: outputTokens } = answer.usage ?? {};
  const promptIds = answer.prompt_token_ids;
  const completionIds = choice?.token_ids;
  return {
    message: () => answerMessage(contentParts(answer)),
    responseId: answer.id,
    respondedModel: answer.model,
    ...(choice?.finish_reason == null ? {} : { finishReason: choice.finish_reason }),
    usage: {
      ...(inputTokens === undefined ? {} : { inputTokens }),
      ...(outputTokens === undefined ? {} : { outputTokens }),
    },
    ...(promptIds == null || completionIds == null
      ? {}
      : {
          tokens: {
            promptIds,
            completionIds,
            logprobs: (choice?.logprobs?.content ?? []).map((one) => one.logprob),
          },
        }),
  };
}
