/**
 * A support desk as a graph of its own, with tools and a checkpointer, as one writes it in LangGraph.js. It knows nothing
 * of apprentice: it takes the model that it is given.
 */
import type { BaseChatModel } from '@langchain/core/language_models/chat_models';
import { AIMessage, SystemMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { END, MemorySaver, MessagesAnnotation, START, StateGraph } from '@langchain/langgraph';
import { ToolNode } from '@langchain/langgraph/prebuilt';
import { z } from 'zod';
import { words, type Outcome, type Ticket } from '../support-desk/world.ts';

/** Model calls that a ticket may take. */
const maximumTurns = 4;

/** Handles one ticket, as a thread of its own; gives back what it did. */
export async function handleTicket(
  model: BaseChatModel,
  ticket: Ticket,
  options: { readonly threadId: string; readonly signal?: AbortSignal },
): Promise<Outcome> {
  const lookedUp: string[] = [];
  const resolved: { order: string; action: string }[] = [];
  const tools = [
    tool(
      ({ order }) => {
        lookedUp.push(order);
        return order === ticket.orderId ? ticket.order : { error: 'unknown order' };
      },
      { name: 'look_up_order', ...words.tools.look_up_order, schema: z.object({ order: z.string() }) },
    ),
    tool(
      ({ order, action }) => {
        resolved.push({ order, action });
        return { done: action };
      },
      {
        name: 'resolve',
        ...words.tools.resolve,
        schema: z.object({ order: z.string(), action: z.string() }),
      },
    ),
  ];
  const withTools = model.bindTools?.(tools) ?? model;
  const graph = new StateGraph(MessagesAnnotation)
    .addNode('desk', async ({ messages }) => ({
      messages: [await withTools.invoke([new SystemMessage(words.system), ...messages])],
    }))
    .addNode('tools', new ToolNode(tools))
    .addEdge(START, 'desk')
    .addConditionalEdges('desk', ({ messages }) => {
      const last = messages.at(-1);
      const turns = messages.filter((message) => AIMessage.isInstance(message)).length;
      const calls = AIMessage.isInstance(last) ? (last.tool_calls ?? []) : [];
      return calls.length > 0 && turns < maximumTurns ? 'tools' : END;
    })
    .addEdge('tools', 'desk')
    .compile({ checkpointer: new MemorySaver() });
  await graph.invoke(
    { messages: [{ role: 'user', content: ticket.message }] },
    {
      configurable: { thread_id: options.threadId },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    },
  );
  return { lookedUp, resolved };
}
