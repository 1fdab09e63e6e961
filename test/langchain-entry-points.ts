/** The ways in which agents call a chat model of LangChain, each with a result that can be compared. */
import type { BaseChatModel } from '@langchain/core/language_models/chat_models';
import { z } from 'zod';
import type { DialectAnswer, DialectRequest } from '../src/testing/openai-dialect-server.ts';
import type { LangChainSet } from './langchain-sets.ts';

/** What every entry point needs: `ChatOpenAI`'s methods, on whichever model is behind them. */
export type Model = InstanceType<LangChainSet['openai']['ChatOpenAI']>;

export interface EntryPoint {
  readonly name: string;
  readonly run: (set: LangChainSet, model: Model) => Promise<unknown>;
}

const question = 'What is the weather in Paris?';
const place = z.object({ city: z.string() });

/** Spaces that no serialiser would write. */
export const rawArguments = '{"city":  "Paris"}';
const noCall = { kind: 'text', text: 'It is raining in Paris.' } as const;

/** A model that looks the weather up where it has a tool, gives JSON where it has to, and talks otherwise. */
export function weatherModel({ body }: DialectRequest): DialectAnswer {
  const format = body['response_format'] as { readonly type?: string } | undefined;
  const choice = body['tool_choice'] as
    string | { readonly function?: { readonly name: string } } | undefined;
  const tools = (body['tools'] ?? []) as readonly { readonly function: { readonly name: string } }[];
  const id = `call-${String(body.messages.length)}`;
  const call = (name: string): DialectAnswer => ({
    kind: 'tools',
    calls: [{ id, name, arguments: rawArguments }],
  });
  const isAnswered = body.messages.at(-1)?.['role'] === 'tool';
  if (typeof choice === 'object' && choice.function !== undefined) return call(choice.function.name);
  const extract = tools.find((tool) => tool.function.name.startsWith('extract'));
  if (isAnswered && extract !== undefined) return call(extract.function.name);
  if (format?.type === 'json_schema' && (tools.length === 0 || isAnswered))
    return { kind: 'text', text: rawArguments };
  const [first] = tools;
  return first === undefined || isAnswered ? noCall : call(first.function.name);
}

export function weatherTool({ tools }: LangChainSet) {
  return tools.tool(({ city }: z.infer<typeof place>) => `rain in ${city}`, {
    name: 'weather',
    description: 'The weather in a city.',
    schema: place,
  });
}

async function all(stream: AsyncIterable<unknown> | Promise<AsyncIterable<unknown>>): Promise<unknown[]> {
  const parts: unknown[] = [];
  for await (const part of await stream) parts.push(part);
  return parts;
}

/** In its third version, under the name that all versions of the core know. */
async function contentEvents(model: Model, input: string): Promise<unknown[]> {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only name that all three sets have
  const stream = model.streamV2(input);
  const events: unknown[] = [];
  for await (const event of stream) events.push(event);
  // It is also a promise: of the whole message.
  return [...events, await stream];
}

type AnyAgent = ReturnType<typeof createAgent>;

export function createAgent(set: LangChainSet, model: BaseChatModel, more: object = {}) {
  return set.langchain.createAgent({ model, tools: [weatherTool(set)], systemPrompt: 'Be brief.', ...more });
}

function reactAgent(set: LangChainSet, model: BaseChatModel): AnyAgent {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- deprecated, and in wide use
  return set.prebuilt.createReactAgent({
    llm: model,
    tools: [weatherTool(set)],
    prompt: 'Be brief.',
  }) as unknown as AnyAgent;
}

const ask = { messages: [{ role: 'user', content: question }] };

/** The four ways to run an agent. */
function agentWays(name: string, make: (set: LangChainSet, model: BaseChatModel) => AnyAgent): EntryPoint[] {
  return [
    {
      name: `${name}.invoke`,
      run: (set, model) => make(set, model).invoke(ask),
    },
    {
      name: `${name}.stream, updates`,
      run: (set, model) => all(make(set, model).stream(ask, { streamMode: 'updates' })),
    },
    {
      name: `${name}.stream, messages`,
      run: (set, model) => all(make(set, model).stream(ask, { streamMode: 'messages' })),
    },
    {
      name: `${name}.streamEvents`,
      run: (set, model) => all(make(set, model).streamEvents(ask, { version: 'v2' })),
    },
  ];
}

export const entryPoints: readonly EntryPoint[] = [
  { name: 'invoke', run: (_, model) => model.invoke(question) },
  { name: 'stream', run: (_, model) => all(model.stream(question)) },
  { name: 'batch', run: (_, model) => model.batch([question, 'And in Rome?']) },
  {
    name: 'generate',
    run: ({ messages }, model) =>
      model.generate([[new messages.HumanMessage(question)], [new messages.HumanMessage('And in Rome?')]]),
  },
  {
    name: 'streamEvents, version 2',
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- deprecated, and in wide use
    run: (_, model) => all(model.streamEvents(question, { version: 'v2' })),
  },
  { name: 'streamEvents, version 3', run: (_, model) => contentEvents(model, question) },
  { name: 'bindTools', run: (set, model) => model.bindTools([weatherTool(set)]).invoke(question) },
  {
    name: 'bindTools and withConfig, streamed',
    run: (set, model) =>
      all(
        model
          .bindTools([weatherTool(set)])
          .withConfig({ tags: ['tagged'], stop: ['END'] })
          .stream(question),
      ),
  },
  {
    name: 'withStructuredOutput, by schema',
    run: (_, model) => model.withStructuredOutput(place, { method: 'jsonSchema' }).invoke(question),
  },
  {
    name: 'withStructuredOutput, by a function call',
    run: (_, model) => model.withStructuredOutput(place, { method: 'functionCalling' }).invoke(question),
  },
  {
    name: 'withStructuredOutput, with the raw message',
    run: (_, model) =>
      model.withStructuredOutput(place, { includeRaw: true, name: 'place' }).invoke(question),
  },
  {
    name: 'withRetry',
    run: (set, model) =>
      model
        .bindTools([weatherTool(set)])
        .withRetry({ stopAfterAttempt: 2 })
        .invoke(question),
  },
  {
    name: 'withFallbacks',
    run: (_, model) => model.withFallbacks([model]).invoke(question),
  },
  {
    name: 'a chain, streamed',
    run: ({ prompts }, model) =>
      all(
        prompts.ChatPromptTemplate.fromMessages([['user', '{question}']])
          .pipe(model)
          .stream({ question }),
      ),
  },
  ...agentWays('createAgent', createAgent),
  ...agentWays('createReactAgent', reactAgent),
  {
    name: 'createAgent with a response format',
    run: (set, model) => createAgent(set, model, { responseFormat: place }).invoke(ask),
  },
  {
    name: 'createAgent with summaries by the same model',
    run: (set, model) =>
      createAgent(set, model, {
        middleware: [
          set.langchain.summarizationMiddleware({
            model,
            trigger: { messages: 3 },
            keep: { messages: 1 },
            // The newest types ask for settings that have defaults.
          } as never),
        ],
      }).invoke({
        messages: [
          { role: 'user', content: 'Hello!' },
          { role: 'assistant', content: 'Hello.' },
          { role: 'user', content: question },
        ],
      }),
  },
];

/** A result as plain data, without what is random or a matter of time. */
export function comparable(result: unknown, names: readonly string[] = []): unknown {
  const text = JSON.stringify(result);
  const masked = text
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'uuid')
    // LangChain numbers them through the whole process.
    .replaceAll(/extract-\d+/g, 'extract')
    // A policy gets the history as it was sampled, which has other tokens than the history as LangChain writes it.
    .replaceAll(/"(prompt_tokens|promptTokens|input_tokens|total_tokens|totalTokens)":\d+/g, '"$1":0')
    .replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, 'server');
  return JSON.parse(names.reduce((left, name) => left.replaceAll(name, 'model'), masked)) as unknown;
}
