import type { Message, Trajectory } from '../trajectory/records.ts';

/**
 * Roughly the bytes that a trajectory takes in the queue and on disk: the length of its texts and token arrays, each
 * history once. Cheap: it looks at no character and into no structure deeper than a message.
 */
export function estimateBytes(trajectory: Trajectory): number {
  let bytes = 512;
  let seenMessages = 0;
  let seenIds = 0;
  for (const event of trajectory.events) {
    bytes += 512;
    if (event.kind === 'tool-result') {
      bytes += typeof event.output === 'string' ? event.output.length : 512;
      continue;
    }
    const { messages } = event.request;
    for (let at = seenMessages; at < messages.length; at += 1) bytes += sizeOf(messages[at]);
    seenMessages = messages.length;
    if (event.response.message !== null) bytes += sizeOf(event.response.message);
    if (event.tokens === null) continue;
    bytes +=
      8 * Math.max(0, event.tokens.promptIds.length - seenIds) + 24 * event.tokens.completionIds.length;
    seenIds = event.tokens.promptIds.length;
  }
  return bytes;
}

function sizeOf(message: Message | undefined): number {
  if (message === undefined) return 0;
  const { content } = message;
  const text =
    typeof content === 'string' ? content.length : Array.isArray(content) ? 512 * content.length : 64;
  return 64 + text + ('tool_calls' in message ? 256 : 0);
}
