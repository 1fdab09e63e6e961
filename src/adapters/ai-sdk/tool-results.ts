/** What tools gave back, as it stands in the prompt of the next call. */
import type { FoundToolResult } from '../../capture/capture.ts';
import { outputText, type RawArguments } from './messages.ts';
import type { PromptMessage, PromptPart } from './specification.ts';

/** The tool results that no model has seen yet: those after the last answer. Older ones are not even looked at. */
export function newToolResults(prompt: readonly PromptMessage[], raw: RawArguments): FoundToolResult[] {
  return newParts(prompt).map(({ toolCallId = '', toolName = '', output }) => {
    const failed = output?.type.startsWith('error') === true || output?.type === 'execution-denied';
    const input = raw.get(toolCallId);
    return {
      toolCallId,
      toolName,
      ...(input === undefined ? {} : { input }),
      output: output?.type === 'json' ? (output.value as FoundToolResult['output']) : outputText(output),
      effect: 'unknown',
      ...(failed ? { error: outputText(output) } : {}),
    };
  });
}

function newParts(prompt: readonly PromptMessage[]): PromptPart[] {
  const found: PromptPart[] = [];
  let at = prompt.length;
  while (at > 0 && prompt[at - 1]?.role !== 'assistant') at -= 1;
  for (; at < prompt.length; at += 1) {
    const message = prompt[at];
    if (message?.role !== 'tool' || typeof message.content === 'string') continue;
    for (const part of message.content) if (part.type === 'tool-result') found.push(part);
  }
  return found;
}
