/** The agent on LangGraph.js, by LangChain's createAgent. */
import { GraphRecursionError } from '@langchain/langgraph';
import { ChatOpenAI } from '@langchain/openai';
import { wrapModel } from 'apprentice/langchain';
import { createAgent, tool } from 'langchain';
import { z } from 'zod';
import { words, type Outcome, type Ticket } from '../world.ts';
import { maxTokens, maxTurns, type Framework, type HandleTicket } from './framework.ts';

export const langchain: Framework = {
  title: 'A LangGraph.js agent',
  connect(apprentice) {
    // The demo has no provider account: nothing answers at this address, and nothing is sent there.
    const incumbent = new ChatOpenAI({
      model: 'gpt-5-mini',
      apiKey: 'none',
      maxTokens,
      maxRetries: 2,
      configuration: { baseURL: 'http://127.0.0.1:9/v1' },
    });
    const model = wrapModel(incumbent, apprentice); // the one line
    return (ticket, options) => handleTicket(model, ticket, options);
  },
};

// From here on, the agent knows nothing of apprentice.

async function handleTicket(
  model: ChatOpenAI,
  ticket: Ticket,
  { stream, signal }: Parameters<HandleTicket>[1],
): Promise<Outcome> {
  const lookedUp: string[] = [];
  const resolved: { order: string; action: string }[] = [];
  const lookUpOrder = tool(
    ({ order }) => {
      lookedUp.push(order);
      return order === ticket.orderId ? ticket.order : { error: 'unknown order' };
    },
    { name: 'look_up_order', ...words.tools.look_up_order, schema: z.object({ order: z.string() }) },
  );
  const resolve = tool(
    ({ order, action }) => {
      resolved.push({ order, action });
      return { done: action };
    },
    { name: 'resolve', ...words.tools.resolve, schema: z.object({ order: z.string(), action: z.string() }) },
  );
  const agent = createAgent({ model, tools: [lookUpOrder, resolve], systemPrompt: words.system });
  const input = { messages: [{ role: 'user', content: ticket.message }] };
  // A turn is two steps of the graph: the model's, and that of its tools.
  const settings = { signal, recursionLimit: 2 * maxTurns };
  try {
    if (stream) for await (const _ of await agent.stream(input, { ...settings, streamMode: 'messages' }));
    else await agent.invoke(input, settings);
  } catch (error) {
    // An agent that does not come to an end has done what it has done.
    if (!(error instanceof GraphRecursionError)) throw error;
  }
  return { lookedUp, resolved };
}
