/** What tools gave back, as it stands in the next prompt. */
import type { ActiveRun } from '../../capture/run.ts';
import { inputMessages, plainContent } from './messages.ts';
import { isObject, messageType, type MessageLike } from './shapes.ts';

/** Records the results that no model has seen yet: those after the last answer. Older ones are not even looked at. */
export function noteToolResults(run: ActiveRun, input: unknown): void {
  for (const message of newToolMessages(input)) noteToolMessage(run, message);
}

export function noteToolMessage(run: ActiveRun, message: MessageLike, input?: string): void {
  const { tool_call_id: toolCallId = '', name: toolName = '', content, status } = message;
  const output = plainContent(content);
  const text = typeof output === 'string' ? output : JSON.stringify(output);
  const written = run.rawArguments.get(toolCallId) ?? input;
  run.toolResult({
    toolCallId,
    toolName,
    ...(written === undefined ? {} : { input: written }),
    output,
    effect: 'unknown',
    ...(status === 'error' ? { error: text } : {}),
  });
}

/** The tool messages after the last answer. */
export function newToolMessages(input: unknown): MessageLike[] {
  const messages = inputMessages(input);
  const found: MessageLike[] = [];
  for (let at = messages.length - 1; at >= 0; at -= 1) {
    const message = messages[at];
    const type = messageType(message) ?? (isObject(message) ? message['role'] : undefined);
    if (type === 'ai' || type === 'assistant') break;
    if (type === 'tool') found.push(message as MessageLike);
  }
  return found.reverse();
}
