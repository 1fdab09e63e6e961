/** The agent as a plain loop on the openai package. */
import { wrapOpenAI } from 'apprentice/openai';
import OpenAI from 'openai';
import type { ChatCompletionMessageParam, ChatCompletionTool } from 'openai/resources/chat/completions';
import { words, type Outcome, type Ticket } from '../world.ts';
import { maxTokens, maxTurns, type Framework, type HandleTicket } from './framework.ts';

export const openai: Framework = {
  title: 'A plain loop on the openai package',
  connect(apprentice) {
    // The demo has no provider account: nothing answers at this address, and nothing is sent there.
    const client = new OpenAI({ baseURL: 'http://127.0.0.1:9/v1', apiKey: 'none', maxRetries: 2 });
    wrapOpenAI(client, apprentice); // the one line
    return (ticket, options) => handleTicket(client, ticket, options);
  },
};

function tool(name: 'look_up_order' | 'resolve', ...fields: string[]): ChatCompletionTool {
  const properties = Object.fromEntries(fields.map((field) => [field, { type: 'string' }]));
  const parameters = { type: 'object', properties, required: fields };
  return { type: 'function', function: { name, description: words.tools[name].description, parameters } };
}

const tools = [tool('look_up_order', 'order'), tool('resolve', 'order', 'action')];

// From here on, the agent knows nothing of apprentice.

async function handleTicket(
  client: OpenAI,
  ticket: Ticket,
  { stream, signal }: Parameters<HandleTicket>[1],
): Promise<Outcome> {
  const desk = new Desk(ticket);
  const messages: ChatCompletionMessageParam[] = [
    { role: 'system', content: words.system },
    { role: 'user', content: ticket.message },
  ];
  for (let turn = 0; turn < maxTurns; turn += 1) {
    const request = { model: 'gpt-5-mini', messages, tools, max_tokens: maxTokens };
    const { choices } = stream
      ? await client.chat.completions.stream(request, { signal }).finalChatCompletion()
      : await client.chat.completions.create(request, { signal });
    const message = choices[0]?.message;
    if (message?.tool_calls === undefined || message.tool_calls.length === 0) break;
    messages.push(message);
    for (const call of message.tool_calls) {
      const result = call.type === 'function' ? desk.use(call.function) : { error: 'unknown tool' };
      messages.push({ role: 'tool', tool_call_id: call.id, content: JSON.stringify(result) });
    }
  }
  return { lookedUp: desk.lookedUp, resolved: desk.resolved };
}

/** The tools, and what was done with them. */
class Desk {
  readonly lookedUp: string[] = [];
  readonly resolved: { order: string; action: string }[] = [];
  readonly #ticket: Ticket;

  constructor(ticket: Ticket) {
    this.#ticket = ticket;
  }

  use({ name, arguments: text }: { readonly name: string; readonly arguments: string }): object {
    const given = readArguments(text);
    if (typeof given?.['order'] !== 'string') return { error: 'the arguments do not fit' };
    const { order, action } = given;
    if (name === 'look_up_order') {
      this.lookedUp.push(order);
      return order === this.#ticket.orderId ? this.#ticket.order : { error: 'unknown order' };
    }
    if (name !== 'resolve' || typeof action !== 'string') return { error: 'the arguments do not fit' };
    this.resolved.push({ order, action });
    return { done: action };
  }
}

function readArguments(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
