/** What a caller asks for and a policy cannot honour: reported as warnings, as AI SDK providers do. */
import { imageUrl } from '../messages.ts';
import type { CallOptions, FunctionTool } from '../specification.ts';

export type Unsupported =
  | { readonly kind: 'setting'; readonly name: string }
  | { readonly kind: 'tool'; readonly tool: FunctionTool }
  | { readonly kind: 'content'; readonly name: string };

export function unsupported(options: CallOptions): Unsupported[] {
  return [...settings(options), ...hostedTools(options), ...content(options)];
}

function settings(options: CallOptions): Unsupported[] {
  const { topK, presencePenalty, frequencyPenalty, reasoning } = options;
  const names: string[] = [];
  if (topK !== undefined) names.push('topK');
  if (presencePenalty !== undefined && presencePenalty !== 0) names.push('presencePenalty');
  if (frequencyPenalty !== undefined && frequencyPenalty !== 0) names.push('frequencyPenalty');
  if (reasoning !== undefined && reasoning !== 'provider-default') names.push('reasoning');
  return names.map((name) => ({ kind: 'setting', name }));
}

/** Tools that run at the incumbent's provider. */
function hostedTools(options: CallOptions): Unsupported[] {
  const hosted = (options.tools ?? []).filter((tool) => tool.type !== 'function');
  return hosted.map((tool) => ({ kind: 'tool', tool }));
}

/** Parts of user messages that are neither text nor images. */
function content(options: CallOptions): Unsupported[] {
  const names = new Set<string>();
  for (const message of options.prompt) {
    if (message.role !== 'user' || typeof message.content === 'string') continue;
    for (const part of message.content) {
      if (part.type !== 'text' && imageUrl(part) === undefined)
        names.add(`${part.type} ${part.mediaType ?? ''}`.trim());
    }
  }
  return [...names].map((name) => ({ kind: 'content', name }));
}
