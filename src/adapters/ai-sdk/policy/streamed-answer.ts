/** Collects a streamed answer and turns each of its chunks into the AI SDK's stream parts. */
import type { CallAnswer } from '../../../capture/capture.ts';
import { AnswerCollector, type CollectedToolCall } from '../../../capture/wire/answer.ts';
import type { Chunk } from '../../../capture/wire/schema.ts';
import type { Part, SpecificationVersion } from '../specification.ts';
import { finishReason, usage } from './shapes.ts';

type ChoiceDelta = Chunk['choices'][number]['delta'];
type ToolCallDelta = NonNullable<ChoiceDelta['tool_calls']>[number];

export class StreamedAnswer {
  readonly #version: SpecificationVersion;
  readonly #collected = new AnswerCollector();
  /** Indices of the tool calls whose input has begun, and of those whose input is complete. */
  readonly #begun = new Set<number>();
  readonly #closed = new Set<number>();
  #open: { readonly kind: 'text' | 'reasoning'; readonly id: string } | undefined;
  #blocks = 0;
  #started = false;

  constructor(version: SpecificationVersion) {
    this.#version = version;
  }

  /** The stream parts of one chunk. */
  push(data: Chunk): Part[] {
    const parts: Part[] = [];
    if (!this.#started) {
      this.#started = true;
      const created = data.created == null ? {} : { timestamp: new Date(data.created * 1000) };
      parts.push({
        type: 'response-metadata',
        id: data.id ?? undefined,
        modelId: data.model ?? undefined,
        ...created,
      });
    }
    this.#collected.push(data);
    const delta = data.choices[0]?.delta;
    if (delta === undefined) return parts;
    this.#say(parts, 'reasoning', delta.reasoning ?? delta.reasoning_content ?? '');
    this.#say(parts, 'text', delta.content ?? '');
    for (const call of delta.tool_calls ?? []) this.#callTool(parts, call);
    return parts;
  }

  /** The parts that end the stream. */
  end(): Part[] {
    const parts: Part[] = [];
    this.#closeBlock(parts);
    this.#closeCalls(parts);
    parts.push(this.#finishPart());
    return parts;
  }

  /** The parts that end a stream in whose middle the server reported an error. */
  fail(error: unknown): Part[] {
    this.#collected.fail();
    return [{ type: 'error', error }, this.#finishPart()];
  }

  /** Tool calls with their raw arguments. */
  get toolCalls(): Iterable<CollectedToolCall> {
    return this.#collected.toolCalls.values();
  }

  /** What the recorder is told, at the end or in the middle. By reference. */
  record(): CallAnswer {
    return this.#collected.record();
  }

  #finishPart(): Part {
    return {
      type: 'finish',
      finishReason: finishReason(this.#version, this.#collected.finishReason),
      usage: usage(this.#version, this.#collected.usage),
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
    parts.push({ type: `${kind}-delta`, id: this.#open.id, delta });
  }

  #closeBlock(parts: Part[]): void {
    if (this.#open === undefined) return;
    parts.push({ type: `${this.#open.kind}-end`, id: this.#open.id });
    this.#open = undefined;
  }

  #callTool(parts: Part[], delta: ToolCallDelta): void {
    this.#closeBlock(parts);
    const call = this.#collected.toolCalls.get(delta.index);
    if (call === undefined) return;
    if (!this.#begun.has(delta.index)) {
      this.#closeCalls(parts);
      this.#begun.add(delta.index);
      parts.push({ type: 'tool-input-start', id: call.id, toolName: call.name });
    }
    const text = delta.function?.arguments ?? '';
    if (text !== '') parts.push({ type: 'tool-input-delta', id: call.id, delta: text });
  }

  /** Models write one call after the other: the next one, or the end, completes those before it. */
  #closeCalls(parts: Part[]): void {
    for (const index of this.#begun) {
      const call = this.#collected.toolCalls.get(index);
      if (call === undefined || this.#closed.has(index)) continue;
      this.#closed.add(index);
      parts.push({ type: 'tool-input-end', id: call.id }, toolCallPart(call));
    }
  }
}

function toolCallPart(call: CollectedToolCall): Part {
  return { type: 'tool-call', toolCallId: call.id, toolName: call.name, input: call.arguments };
}
