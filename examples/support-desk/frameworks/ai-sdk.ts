/** The agent on the AI SDK. */
import { generateText, stepCountIs, streamText, tool, type LanguageModel } from 'ai';
import { wrapModel } from 'apprentice/ai-sdk';
import { z } from 'zod';
import { noIncumbent } from '../incumbent.ts';
import { words, type Outcome, type Ticket } from '../world.ts';
import { maxTokens, maxTurns, type Framework } from './framework.ts';

export const aiSdk: Framework = {
  title: 'An AI SDK agent',
  connect(apprentice) {
    // The one line: the model that the agent calls, wrapped. (The demo has no provider account, hence no incumbent.)
    const model = wrapModel(noIncumbent, apprentice);
    return (ticket, options) => handleTicket(model, ticket, options);
  },
};

// From here on, the agent knows nothing of apprentice.

async function handleTicket(
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
    stopWhen: stepCountIs(maxTurns),
    maxOutputTokens: maxTokens,
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
