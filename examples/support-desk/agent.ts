/** The agent: plain AI SDK code that knows nothing of apprentice. */
import { generateText, stepCountIs, streamText, tool, type LanguageModel } from 'ai';
import { z } from 'zod';
import { words, type Outcome, type Ticket } from './world.ts';

/** Handles one ticket; gives back what it did. */
export async function handleTicket(
  model: LanguageModel,
  ticket: Ticket,
  options: { readonly stream: boolean; readonly signal: AbortSignal },
): Promise<Outcome> {
  const lookedUp: string[] = [];
  const resolved: { order: string; action: string }[] = [];
  const settings = {
    model,
    system: words.system,
    prompt: ticket.message,
    stopWhen: stepCountIs(4),
    maxOutputTokens: 48,
    maxRetries: 2,
    abortSignal: options.signal,
    tools: {
      look_up_order: tool({
        description: words.tools.look_up_order.description,
        inputSchema: z.object({ order: z.string() }),
        execute: ({ order }) => {
          lookedUp.push(order);
          return Promise.resolve(order === ticket.orderId ? ticket.order : { error: 'unknown order' });
        },
      }),
      resolve: tool({
        description: words.tools.resolve.description,
        inputSchema: z.object({ order: z.string(), action: z.string() }),
        execute: ({ order, action }) => {
          resolved.push({ order, action });
          return Promise.resolve({ done: action });
        },
      }),
    },
  };
  if (options.stream) await streamText(settings).consumeStream();
  else await generateText(settings);
  return { lookedUp, resolved };
}
