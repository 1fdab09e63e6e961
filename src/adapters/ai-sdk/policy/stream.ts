/** A streamed call to a policy: server-sent events → the AI SDK's stream parts, and the record on the side. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { CallEnd } from '../../../capture/capture.ts';
import type { Message } from '../../../trajectory/records.ts';
import { answerMessage } from '../messages.ts';
import type { Part, SpecificationVersion } from '../specification.ts';
import { PolicyCallError } from './api-error.ts';
import { finishReason, usage, warnings, type WireUsage } from './shapes.ts';
import { chunk, wireError, type Chunk } from './wire.ts';

interface ToolCallSoFar {
  id: string;
  name: string;
  input: string;
}

/** Collects a streamed answer; turns each chunk into stream parts. Pure but for its own state. */
export class StreamedAnswer {
  readonly #version: SpecificationVersion;
  readonly #promptIds: number[] = [];
  readonly #completionIds: number[] = [];
  readonly #logprobs: number[] = [];
  readonly #calls = new Map<number, ToolCallSoFar>();
  #text = '';
  #reasoning = '';
  #open: 'text' | 'reasoning' | undefined;
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
      parts.push({ type: 'response-metadata', id: data.id, modelId: data.model });
    }
    this.#promptIds.push(...(data.prompt_token_ids ?? []));
    if (data.usage != null) this.#usage = data.usage;
    const choice = data.choices[0];
    if (choice === undefined) return parts;
    this.#completionIds.push(...(choice.token_ids ?? []));
    this.#logprobs.push(...(choice.logprobs?.content ?? []).map((one) => one.logprob));
    const { delta } = choice;
    this.#say(parts, 'reasoning', delta.reasoning ?? delta.reasoning_content ?? '');
    this.#say(parts, 'text', delta.content ?? '');
    for (const call of delta.tool_calls ?? []) {
      this.#closeText(parts);
      this.#toolDelta(
        parts,
        call.index,
        call.id ?? '',
        call.function?.name ?? '',
        call.function?.arguments ?? '',
      );
    }
    this.#finish = choice.finish_reason ?? this.#finish;
    return parts;
  }

  /** The parts that end the stream. */
  end(): Part[] {
    const parts: Part[] = [];
    this.#closeText(parts);
    for (const call of this.#calls.values()) {
      parts.push({ type: 'tool-input-end', id: call.id });
      parts.push({ type: 'tool-call', toolCallId: call.id, toolName: call.name, input: call.input });
    }
    const finish = finishReason(this.#version, this.#finish);
    return [...parts, { type: 'finish', finishReason: finish, usage: usage(this.#version, this.#usage) }];
  }

  /** Tool calls with their raw arguments. */
  get toolCalls(): readonly { readonly id: string; readonly input: string }[] {
    return [...this.#calls.values()];
  }

  /** What the recorder is told, at the end or in the middle. */
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
      ...(this.#promptIds.length === 0
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
      ...[...this.#calls.values()].map((call) => ({
        type: 'tool-call',
        toolCallId: call.id,
        toolName: call.name,
        input: call.input,
      })),
    ]);
  }

  #say(parts: Part[], kind: 'text' | 'reasoning', delta: string): void {
    if (delta === '') return;
    if (this.#open !== kind) {
      this.#closeText(parts);
      this.#open = kind;
      parts.push({ type: `${kind}-start`, id: `${kind}-0` });
    }
    if (kind === 'text') this.#text += delta;
    else this.#reasoning += delta;
    parts.push({ type: `${kind}-delta`, id: `${kind}-0`, delta });
  }

  #closeText(parts: Part[]): void {
    if (this.#open === undefined) return;
    parts.push({ type: `${this.#open}-end`, id: `${this.#open}-0` });
    this.#open = undefined;
  }

  #toolDelta(parts: Part[], index: number, id: string, name: string, delta: string): void {
    let call = this.#calls.get(index);
    if (call === undefined) {
      call = { id, name, input: '' };
      this.#calls.set(index, call);
      parts.push({ type: 'tool-input-start', id, toolName: name });
    }
    call.input += delta;
    if (delta !== '') parts.push({ type: 'tool-input-delta', id: call.id, delta });
  }
}

/** Server-sent events of a completion → stream parts. Ends on `[DONE]`; a stream that breaks off before is an error. */
export function streamParts(options: {
  readonly body: ReadableStream<Uint8Array>;
  readonly answer: StreamedAnswer;
  readonly version: SpecificationVersion;
  readonly unsupported: readonly string[];
  readonly url: string;
}): ReadableStream<Part> {
  const { answer } = options;
  // lib.dom types the decoder's input as BufferSource, which is wider than what fetch gives.
  const decoder = new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>;
  const events = options.body.pipeThrough(decoder).pipeThrough(new EventSourceParserStream()).getReader();
  let started = false;
  return new ReadableStream<Part>(
    {
      async pull(controller) {
        if (!started) {
          started = true;
          controller.enqueue({
            type: 'stream-start',
            warnings: warnings(options.version, options.unsupported),
          });
          return;
        }
        for (;;) {
          const { done, value } = await events.read();
          if (done) throw broken('The answer broke off before its end.', options.url);
          if (value.data === '[DONE]') {
            for (const part of answer.end()) controller.enqueue(part);
            controller.close();
            return;
          }
          const parts = answer.push(parseChunk(value.data, options.url));
          for (const part of parts) controller.enqueue(part);
          if (parts.length > 0) return;
        }
      },
      async cancel(reason: unknown) {
        await events.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}

function parseChunk(data: string, url: string): Chunk {
  const value: unknown = JSON.parse(data);
  const failure = wireError.safeParse(value);
  if (failure.success) throw broken(failure.data.error.message, url);
  return chunk.parse(value);
}

function broken(message: string, url: string): PolicyCallError {
  return new PolicyCallError({ message, url, isRetryable: true });
}
