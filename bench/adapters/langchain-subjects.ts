/** What is measured: a chat model that takes no time, by itself and in an agent with a tool. */
import { BaseChatModel } from '@langchain/core/language_models/chat_models';
import { AIMessage, AIMessageChunk, type BaseMessage } from '@langchain/core/messages';
import { ChatGenerationChunk } from '@langchain/core/outputs';
import { createAgent, tool } from 'langchain';
import { z } from 'zod';
import { prose } from '../words.ts';

export const chunksPerStream = 200;

const question = 'Where is my order K482?';
const answer = prose(800);
const usage = { input_tokens: 900, output_tokens: 200, total_tokens: 1100 };
const pieces = Array.from({ length: chunksPerStream }, (_, index) => answer.slice(index * 4, index * 4 + 4));

class InstantModel extends BaseChatModel {
  override _llmType(): string {
    return 'instant';
  }

  override bindTools(tools: unknown[]) {
    return this.withConfig({ tools } as object);
  }

  /** Calls its tool first, where it has one, and answers then. */
  override _generate(messages: BaseMessage[], options: object) {
    const calls = 'tools' in options && messages.at(-1)?.type === 'human';
    const toolCalls = [
      { id: 'call-1', name: 'look_up', args: { order: 'K482' }, type: 'tool_call' as const },
    ];
    const head = { id: 'answer', usage_metadata: usage as never };
    const message = new AIMessage(
      calls ? { ...head, content: '', tool_calls: toolCalls } : { ...head, content: answer },
    );
    return Promise.resolve({ generations: [{ text: answer, message }] });
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- a generator by LangChain's type, without anything to wait for
  override async *_streamResponseChunks() {
    for (const text of pieces)
      yield new ChatGenerationChunk({ text, message: new AIMessageChunk({ id: 'answer', content: text }) });
  }
}

export function makeModel(): BaseChatModel {
  return new InstantModel({});
}

const made = new WeakMap<BaseChatModel, Agent>();

/** The agent of a model, made once. */
export function makeAgent(model: BaseChatModel): Agent {
  let agent = made.get(model);
  if (agent === undefined) made.set(model, (agent = newAgent(model)));
  return agent;
}

type Agent = ReturnType<typeof newAgent>;

function newAgent(model: BaseChatModel) {
  const lookUp = tool(() => prose(1000), {
    name: 'look_up',
    description: 'Finds an order.',
    schema: z.object({ order: z.string() }),
  });
  return createAgent({ model, tools: [lookUp], systemPrompt: prose(3000) });
}

export interface Subject {
  readonly name: string;
  /** Model calls of one run. */
  readonly calls: number;
  /** Runs of one round. */
  readonly repeats: number;
  readonly streamed: boolean;
  readonly run: (model: BaseChatModel, agent: Agent) => Promise<unknown>;
}

async function drain(stream: Promise<AsyncIterable<unknown>>): Promise<void> {
  for await (const _ of await stream);
}

export const subjects: readonly Subject[] = [
  {
    name: 'model.invoke',
    calls: 1,
    repeats: 1000,
    streamed: false,
    run: (model) => model.invoke(question),
  },
  {
    name: 'model.stream',
    calls: 1,
    repeats: 30,
    streamed: true,
    run: (model) => drain(model.stream(question)),
  },
  {
    name: 'agent.invoke',
    calls: 2,
    repeats: 60,
    streamed: false,
    run: (_, agent) => agent.invoke({ messages: [{ role: 'user', content: question }] }),
  },
];
