/** Chat models of LangChain that give scripted answers, of no provider. */
import type { BaseChatModel } from '@langchain/core/language_models/chat_models';
import type { BaseMessage } from '@langchain/core/messages';
import type { LangChainSet } from './langchain-sets.ts';

/** One scripted answer: a text, a tool call, or a failure. */
export type Said = string | Error | { readonly tool: string; readonly args: Record<string, unknown> };

/**
 * A model that says the answers in their order. `echo` says what the user said; `delegate` lets its tool, where it has
 * one, answer the user's question, and then repeats what the tool says.
 */
export function scriptedModel(
  set: LangChainSet,
  answers: readonly Said[] | 'echo' | 'delegate',
): BaseChatModel {
  const { AIMessage, AIMessageChunk } = set.messages;
  const waiting = typeof answers === 'string' ? [] : [...answers];
  let count = 0;

  const next = (messages: readonly BaseMessage[], mayCall: boolean): Exclude<Said, Error> => {
    const question = messages.find((message) => message.type === 'human')?.text ?? '';
    if (answers === 'echo') return question;
    if (answers === 'delegate') {
      const last = messages.at(-1);
      if (last?.type === 'tool') return last.text;
      return mayCall ? { tool: 'help', args: { question } } : `answer to ${question}`;
    }
    const said = waiting.shift();
    if (said === undefined) throw new Error('The script has no further answer.');
    if (said instanceof Error) throw said;
    return said;
  };

  const fields = (said: Exclude<Said, Error>) => {
    count += 1;
    const usage = { input_tokens: 3, output_tokens: 2, total_tokens: 5 };
    const head = { id: `response-${String(count)}`, usage_metadata: usage };
    if (typeof said === 'string') return { ...head, content: said };
    const call = { id: `call-${String(count)}`, name: said.tool, args: said.args };
    return { ...head, content: '', tool_calls: [{ ...call, type: 'tool_call' as const }] };
  };

  const hasTools = (options: object) => 'tools' in options && (options.tools as unknown[]).length > 0;

  class Scripted extends set.chatModels.BaseChatModel {
    override _llmType(): string {
      return 'scripted';
    }

    override bindTools(tools: unknown[]) {
      return this.withConfig({ tools } as object);
    }

    override async _generate(messages: BaseMessage[], options: object) {
      // As if it were far away.
      await new Promise((resolve) => setTimeout(resolve, 1));
      const message = new AIMessage(fields(next(messages, hasTools(options))) as object);
      return { generations: [{ text: message.text, message }] };
    }

    override async *_streamResponseChunks(messages: BaseMessage[], options: object) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      const message = new AIMessageChunk(fields(next(messages, hasTools(options))) as object);
      yield new set.outputs.ChatGenerationChunk({ text: message.text, message });
    }
  }
  return new Scripted({});
}

/** Bytes of all that a MemorySaver holds. */
export function storedBytes(saver: object): number {
  const size = (value: unknown): number => {
    if (value instanceof Uint8Array) return value.byteLength;
    if (typeof value === 'string') return value.length;
    return typeof value === 'object' && value !== null
      ? Object.values(value).reduce<number>((sum, one) => sum + size(one), 0)
      : 0;
  };
  const { storage, writes } = saver as { storage: unknown; writes: unknown };
  return size(storage) + size(writes);
}
