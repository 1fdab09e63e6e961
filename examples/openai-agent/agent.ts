/** An order desk on the openai package, by its tool runner. It knows nothing of apprentice. */
import type OpenAI from 'openai';

export interface Order {
  readonly id: string;
  readonly record: Readonly<Record<string, string>>;
}

/** What the agent did for a customer. */
export interface Handled {
  readonly lookedUp: readonly string[];
  readonly resolved: readonly { readonly order: string; readonly action: string }[];
}

export interface AskOptions {
  readonly model: string;
  readonly instructions: string;
  readonly message: string;
  readonly order: Order;
  /** Tool name → what the model is told of it. */
  readonly tools: Readonly<Record<'look_up_order' | 'resolve', { readonly description: string }>>;
  readonly signal?: AbortSignal;
}

/** Answers one customer: looks the order up, then resolves the case. */
export async function handle(client: OpenAI, options: AskOptions): Promise<Handled> {
  const { model, instructions, message, order, tools, signal } = options;
  const lookedUp: string[] = [];
  const resolved: { order: string; action: string }[] = [];
  const runner = client.chat.completions.runTools(
    {
      model,
      max_tokens: 48,
      messages: [
        { role: 'system', content: instructions },
        { role: 'user', content: message },
      ],
      tools: [
        {
          type: 'function',
          function: {
            name: 'look_up_order',
            description: tools.look_up_order.description,
            parameters: schema('order'),
            parse: JSON.parse,
            function: ({ order: id }: { order: string }) => {
              lookedUp.push(id);
              return id === order.id ? order.record : { error: 'unknown order' };
            },
          },
        },
        {
          type: 'function',
          function: {
            name: 'resolve',
            description: tools.resolve.description,
            parameters: schema('order', 'action'),
            parse: JSON.parse,
            function: (given: { order: string; action: string }) => {
              resolved.push(given);
              return { done: given.action };
            },
          },
        },
      ],
    },
    { maxChatCompletions: 4, ...(signal === undefined ? {} : { signal }) },
  );
  await runner.done();
  return { lookedUp, resolved };
}

function schema(...fields: string[]): Record<string, unknown> {
  const properties = Object.fromEntries(fields.map((field) => [field, { type: 'string' }]));
  return { type: 'object', properties, required: fields };
}
