/** The one collector of answers: text, tool calls, tokens and counts of a completion, whole or in chunks. */
import type { Message } from '../../trajectory/records.ts';
import type { CallAnswer } from '../capture.ts';
import type { Chunk, Completion, WireUsage } from './schema.ts';

export interface CollectedToolCall {
  readonly id: string;
  readonly name: string;
  /** As the model wrote them. */
  arguments: string;
}

type Tokens = Pick<Completion['choices'][number], 'token_ids' | 'logprobs'>;

/** Collects the first choice; further ones (`n` above 1) show in the usage count only. */
export class AnswerCollector {
  readonly #completionIds: number[] = [];
  readonly #logprobs: number[] = [];
  readonly #calls = new Map<number, CollectedToolCall>();
  #promptIds: readonly number[] | undefined;
  #text = '';
  #reasoning = '';
  #id: string | undefined;
  #model: string | undefined;
  #finish: string | undefined;
  #usage: WireUsage | undefined;
  #hasIds = false;

  /** Takes a whole answer. */
  whole(answer: Completion): void {
    this.#head(answer);
    const choice = answer.choices.find(isFirst);
    if (choice === undefined) return;
    const { message } = choice;
    this.#tokens(choice);
    this.#reasoning = message.reasoning ?? message.reasoning_content ?? '';
    this.#text = message.content ?? message.refusal ?? '';
    (message.tool_calls ?? []).forEach(({ id, function: called }, index) => {
      this.#calls.set(index, { id, name: called?.name ?? '', arguments: called?.arguments ?? '' });
    });
    this.#finish = choice.finish_reason ?? undefined;
  }

  /** Takes a chunk of a streamed answer. */
  push(data: Chunk): void {
    this.#head(data);
    const choice = data.choices.find(isFirst);
    if (choice === undefined) return;
    const { delta } = choice;
    this.#tokens(choice);
    this.#reasoning += delta.reasoning ?? delta.reasoning_content ?? '';
    this.#text += delta.content ?? delta.refusal ?? '';
    for (const call of delta.tool_calls ?? []) {
      let known = this.#calls.get(call.index);
      if (known === undefined) {
        const id = call.id ?? `${this.#id ?? ''}-${String(call.index)}`;
        known = { id, name: call.function?.name ?? '', arguments: '' };
        this.#calls.set(call.index, known);
      }
      known.arguments += call.function?.arguments ?? '';
    }
    this.#finish = choice.finish_reason ?? this.#finish;
  }

  /** Marks an answer in whose middle the server reported an error. */
  fail(): void {
    this.#finish = 'error';
  }

  /** Why the model stopped; undefined while it goes on. */
  get finishReason(): string | undefined {
    return this.#finish;
  }

  get usage(): WireUsage | undefined {
    return this.#usage;
  }

  /** Tool calls by their index in the answer. */
  get toolCalls(): ReadonlyMap<number, CollectedToolCall> {
    return this.#calls;
  }

  /** The answer, so far, as one assistant message. */
  message(): Message {
    const calls = [...this.#calls.values()];
    return {
      role: 'assistant',
      content: this.#text,
      ...(this.#reasoning === '' ? {} : { reasoning: this.#reasoning }),
      ...(calls.length === 0
        ? {}
        : {
            tool_calls: calls.map(({ id, name, arguments: text }) => ({
              id,
              type: 'function',
              function: { name, arguments: text },
            })),
          }),
    };
  }

  /** What the recorder is told, at the end or in the middle. By reference. */
  record(): CallAnswer {
    const inputTokens = this.#usage?.prompt_tokens ?? undefined;
    const outputTokens = this.#usage?.completion_tokens ?? undefined;
    const cachedInputTokens = this.#usage?.prompt_tokens_details?.cached_tokens ?? undefined;
    return {
      message: () => this.message(),
      ...(this.#id === undefined ? {} : { responseId: this.#id }),
      ...(this.#model === undefined ? {} : { respondedModel: this.#model }),
      ...(this.#finish === undefined ? {} : { finishReason: this.#finish }),
      usage: {
        ...(inputTokens === undefined ? {} : { inputTokens }),
        ...(outputTokens === undefined ? {} : { outputTokens }),
        ...(cachedInputTokens === undefined ? {} : { cachedInputTokens }),
      },
      ...(this.#promptIds === undefined || !this.#hasIds
        ? {}
        : {
            tokens: {
              promptIds: this.#promptIds,
              completionIds: this.#completionIds,
              logprobs: this.#logprobs,
            },
          }),
    };
  }

  #head(data: Pick<Completion, 'id' | 'model' | 'prompt_token_ids' | 'usage'>): void {
    // Azure's first chunk, about content filters, has neither.
    if (this.#id === undefined && data.id != null && data.id !== '') this.#id = data.id;
    if (this.#model === undefined && data.model != null && data.model !== '') this.#model = data.model;
    this.#promptIds ??= data.prompt_token_ids ?? undefined;
    if (data.usage != null) this.#usage = data.usage;
  }

  #tokens({ token_ids: ids, logprobs }: Tokens): void {
    if (ids != null) this.#hasIds = true;
    for (const id of ids ?? []) this.#completionIds.push(id);
    for (const { logprob } of logprobs?.content ?? []) this.#logprobs.push(logprob);
  }
}

function isFirst({ index }: { readonly index?: number | null | undefined }): boolean {
  return (index ?? 0) === 0;
}
