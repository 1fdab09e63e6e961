import type { CallAnswer } from '../../capture/capture.ts';
import { errorOutcome, streamOutcome } from '../../capture/outcome.ts';
import type { RecordedCall } from '../../capture/recorded-call.ts';
import type { StreamEnd, TapCallbacks } from '../../capture/tap-callbacks.ts';
import type { CallOutcome } from '../../trajectory/records.ts';
import { answerRecord, keepArgumentsNow } from './answer-record.ts';
import type { IncumbentCall } from './incumbent-call.ts';
import type { Part } from './specification.ts';

type OpenText = { readonly type: 'text' | 'reasoning'; text: string; readonly id: unknown };

/** What a stream says on its way to the reader. Holds the text, not the parts: there is one for each few letters. */
export class StreamRecording implements TapCallbacks<Part> {
  readonly #call: IncumbentCall;
  readonly #recorded: RecordedCall;
  readonly #read = (): CallAnswer => this.#answer();
  /** Content parts as `doGenerate` would have given them: text, reasoning, tool calls. */
  readonly #content: Part[] = [];
  /** The text that the last delta belonged to: nearly always that of the next one. */
  #text: OpenText | undefined;
  #metadata: Part | undefined;
  #finish: Part | undefined;
  #error: Part | undefined;
  #begun = false;

  constructor(call: IncumbentCall, recorded: RecordedCall) {
    this.#call = call;
    this.#recorded = recorded;
    recorded.partial(this.#read);
  }

  part(part: Part): void {
    switch (part.type) {
      case 'text-delta':
        this.#add('text', part['id'], part['delta']);
        break;
      case 'reasoning-delta':
        this.#add('reasoning', part['id'], part['delta']);
        break;
      case 'tool-call':
        this.#content.push(part);
        break;
      case 'finish':
        this.#finish = part;
        break;
      case 'error':
        this.#error ??= part;
        break;
      case 'response-metadata':
        this.#metadata = part;
        return;
      case 'stream-start':
        return;
      default: // Starts and ends of texts, files, sources: nothing that a record keeps.
    }
    if (!this.#begun) {
      this.#begun = true;
      this.#recorded.firstToken();
    }
    // A reader may leave at an error, without waiting for the finish part behind it.
    if (part === this.#error) this.end({ type: 'error', error: part['error'] });
  }

  end(how: StreamEnd): void {
    const { run, answerer } = this.#call;
    if (answerer.fallback) keepArgumentsNow(run, () => this.#content);
    this.#recorded.end(this.#outcome(how), this.#read);
  }

  #outcome(how: StreamEnd): CallOutcome {
    const { abortSignal } = this.#call.options;
    // An error part is followed by a finish part: the call has failed all the same.
    if (this.#error !== undefined) return errorOutcome(this.#error['error'], abortSignal);
    return this.#finish === undefined ? streamOutcome(how, abortSignal) : { status: 'ok' };
  }

  #add(type: OpenText['type'], id: unknown, delta: unknown): void {
    const last = this.#text;
    const text = last?.id === id && last?.type === type ? last : this.#open(type, id);
    this.#text = text;
    text.text += typeof delta === 'string' ? delta : String(delta);
  }

  #open(type: OpenText['type'], id: unknown): OpenText {
    const known = this.#content.find((one) => one.type === type && one['id'] === id);
    if (known !== undefined) return known as OpenText;
    const made: OpenText = { type, text: '', id };
    this.#content.push(made);
    return made;
  }

  #answer(): CallAnswer {
    const finish = this.#finish;
    return answerRecord(this.#call.run, {
      content: this.#content,
      finishReason: finish?.['finishReason'],
      usage: finish?.['usage'],
      id: textOf(this.#metadata, 'id'),
      modelId: textOf(this.#metadata, 'modelId'),
    });
  }
}

function textOf(part: Part | undefined, key: string): string | undefined {
  const value = part?.[key];
  return typeof value === 'string' ? value : undefined;
}
