/** Collects a streamed answer and turns each of its chunks into the AI SDK's stream parts. */
import type { CallEnd } from '../../../capture/capture.ts';
import type { Message } from '../../../trajectory/records.ts';
import { answerMessage } from '../messages.ts';
import type { Part, SpecificationVersion } from '../specification.ts';
import { finishReason, usage } from './shapes.ts';
import type { Chunk, WireUsage } from './wire.ts';

interface ToolCallSoFar {
  readonly id: string;
  readonly name: string;
  input: string;
  closed: boolean;
}

type ChoiceDelta = Chunk['choices'][number]['delta'];
type ToolCallDelta = NonNullable<ChoiceDelta['tool_calls']>[number];

export class StreamedAnswer {
  readonly #version: SpecificationVersion;
  readonly #completionIds: number[] = [];
  readonly #logprobs: number[] = [];
  readonly #calls = new Map<number, ToolCallSoFar>();
  #promptIds: readonly number[] | undefined;
  #text = '';
  #reasoning = '';
  #open: { readonly kind: 'text' | 'reasoning'; readonly id: string } | undefined;
  #blocks = 0;
  #id: string | undefined;
  #model: string | undefined;
  #finish: string | null | undefined;
  #usage: WireUsage | undefined;

  constructor(version: SpecificationVersion) {
    this.#version = version;
  }

  /** The stream parts of one chunk. */
  push(data: Chunk): Part[] {
    const parts: Part[] = [];
    if (this.#id === undefined) {
      this.#id = data.id;
      this.#model = data.model;
      const created = data.created === undefined ? {} : { timestamp: new Date(data.created * 1000) };
      parts.push({ type: 'response-metadata', id: data.id, modelId: data.model, ...created });
    }
    this.#promptIds ??= data.prompt_token_ids ?? undefined;
    if (data.usage != null) this.#usage = data.usage;
    const choice = data.choices[0];
    if (choice === undefined) return parts;
    for (const id of choice.token_ids ?? []) this.#completionIds.push(id);
    for (const { logprob } of choice.logprobs?.content ?? []) this.#logprobs.push(logprob);
    const { delta } = choice;
    this.#say(parts, 'reasoning', delta.reasoning ?? delta.reasoning_content ?? '');
    this.#say(parts, 'text', delta.content ?? '');
    for (const call of delta.tool_calls ?? []) this.#callTool(parts, call);
    this.#finish = choice.finish_reason ?? this.#finish;
    return parts;
  }

  /** The parts that end the stream. */
  end(): Part[] {
    const parts: Part[] = [];
    this.#closeBlock(parts);
    this.#closeCalls(parts);
    parts.push(this.#finishPart(this.#finish));
    return parts;
  }

  /** The parts that end a stream in whose middle the server reported an error. */
  fail(error: unknown): Part[] {
    this.#finish = 'error';
    return [{ type: 'error', error }, this.#finishPart('error')];
  }

  /** Tool calls with their raw arguments. */
  get toolCalls(): readonly { readonly id: string; readonly input: string }[] {
    return [...this.#calls.values()];
  }

  /** What the recorder is told, at the end or in the middle. By reference. */
  record(): Omit<CallEnd, 'outcome'> {
    const { prompt_tokens: inputTokens, completion_tokens: outputTokens } = this.#usage ?? {};
    return {
      message: () => this.#message(),
      ...(this.#id === undefined ? {} : { responseId: this.#id }),
      ...(this.#model === undefined ? {} : { respondedModel: this.#model }),
      ...(this.#finish == null ? {} : { finishReason: this.#finish }),
      usage: {
        ...(inputTokens === undefined ? {} : { inputTokens }),
        ...(outputTokens === undefined ? {} : { outputTokens }),
      },
      ...(this.#promptIds === undefined
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

  #message(): Message {
    return answerMessage([
      ...(this.#reasoning === '' ? [] : [{ type: 'reasoning', text: this.#reasoning }]),
      { type: 'text', text: this.#text },
      ...[...this.#calls.values()].map(toolCallPart),
    ]);
  }

  #finishPart(raw: string | null | undefined): Part {
    return {
      type: 'finish',
      finishReason: finishReason(this.#version, raw),
      usage: usage(this.#version, this.#usage),
    };
  }

  #say(parts: Part[], kind: 'text' | 'reasoning', delta: string): void {
    if (delta === '') return;
    if (this.#open?.kind !== kind) {
      this.#closeBlock(parts);
      this.#open = { kind, id: `${kind}-${String(this.#blocks)}` };
      this.#blocks += 1;
      parts.push({ type: `${kind}-start`, id: this.#open.id });
    }
    if (kind === 'text') this.#text += delta;
    else this.#reasoning += delta;
    parts.push({ type: `${kind}-delta`, id: this.#open.id, delta });
  }

  #closeBlock(parts: Part[]): void {
    if (this.#open === undefined) return;
    parts.push({ type: `${this.#open.kind}-end`, id: this.#open.id });
    this.#open = undefined;
  }

  #callTool(parts: Part[], delta: ToolCallDelta): void {
    this.#closeBlock(parts);
    let call = this.#calls.get(delta.index);
    if (call === undefined) {
      this.#closeCalls(parts);
      const id = delta.id ?? `${this.#id ?? ''}-${String(delta.index)}`;
      call = { id, name: delta.function?.name ?? '', input: '', closed: false };
      this.#calls.set(delta.index, call);
      parts.push({ type: 'tool-input-start', id, toolName: call.name });
    }
    const text = delta.function?.arguments ?? '';
    call.input += text;
    if (text !== '') parts.push({ type: 'tool-input-delta', id: call.id, delta: text });
  }

  /** Models write one call after the other: the next one, or the end, completes those before it. */
  #closeCalls(parts: Part[]): void {
    for (const call of this.#calls.values()) {
      if (call.closed) continue;
      call.closed = true;
      parts.push({ type: 'tool-input-end', id: call.id }, toolCallPart(call));
    }
  }
}

function toolCallPart(call: ToolCallSoFar): Part {
  return { type: 'tool-call', toolCallId: call.id, toolName: call.name, input: call.input };
}
