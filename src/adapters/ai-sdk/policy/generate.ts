/** One plain call to a policy. */
import type { Completion } from '../../../capture/wire/schema.ts';
import type { GenerateResult, Part, SpecificationVersion } from '../specification.ts';
import type { RequestBody } from './request.ts';
import { finishReason, usage, warnings } from './shapes.ts';
import type { Unsupported } from './unsupported.ts';

/** The answer's content parts: reasoning, text, tool calls, in the order in which models write them. */
export function contentParts(answer: Completion): Part[] {
  const message = answer.choices[0]?.message;
  const reasoning = message?.reasoning ?? message?.reasoning_content ?? '';
  const text = message?.content ?? '';
  return [
    ...(reasoning === '' ? [] : [{ type: 'reasoning', text: reasoning }]),
    ...(text === '' ? [] : [{ type: 'text', text }]),
    ...(message?.tool_calls ?? []).map(({ id, function: called }) => ({
      type: 'tool-call',
      toolCallId: id,
      toolName: called?.name ?? '',
      input: called?.arguments ?? '',
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
  const created = answer.created == null ? {} : { timestamp: new Date(answer.created * 1000) };
  return {
    content: contentParts(answer),
    finishReason: finishReason(version, answer.choices[0]?.finish_reason),
    usage: usage(version, answer.usage),
    warnings: warnings(version, found),
    request: { body },
    response: { id: answer.id ?? undefined, modelId: answer.model ?? undefined, ...created },
  };
}
