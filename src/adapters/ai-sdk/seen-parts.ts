/** What the parts of a stream have said so far. Holds the text, not the parts: there is one for each few letters. */
import { errorOutcome, streamOutcome } from '../../capture/outcome.ts';
import type { StreamEnd } from '../../capture/tap-callbacks.ts';
import type { CallOutcome } from '../../trajectory/records.ts';
import type { Part } from './specification.ts';

type OpenText = { readonly type: 'text' | 'reasoning'; text: string; readonly id: unknown };

export class SeenParts {
  /** Content parts as `doGenerate` would have given them: text, reasoning, tool calls. */
  readonly content: Part[] = [];
  finish: Part | undefined;
  metadata: Part | undefined;
  readonly #texts: OpenText[] = [];
  /** The text that the last delta belonged to: nearly always that of the next one. */
  #last: OpenText | undefined;
  #error: Part | undefined;

  add(part: Part): void {
    switch (part.type) {
      case 'text-delta':
        this.#addText('text', part['id'], part['delta']);
        break;
      case 'reasoning-delta':
        this.#addText('reasoning', part['id'], part['delta']);
        break;
      case 'tool-call':
        this.content.push(part);
        break;
      case 'finish':
        this.finish = part;
        break;
      case 'response-metadata':
        this.metadata = part;
        break;
      case 'error':
        this.#error ??= part;
        break;
      default: // Starts and ends of texts, files, sources: nothing that a record keeps.
    }
  }

  /** An error part is followed by a finish part: the call has failed all the same. */
  outcome(how: StreamEnd, signal: AbortSignal | undefined): CallOutcome {
    if (this.#error !== undefined) return errorOutcome(this.#error['error'], signal);
    return this.finish === undefined ? streamOutcome(how, signal) : { status: 'ok' };
  }

  #addText(type: OpenText['type'], id: unknown, delta: unknown): void {
    const last = this.#last;
    const text = last?.id === id && last?.type === type ? last : this.#openText(type, id);
    this.#last = text;
    text.text += typeof delta === 'string' ? delta : String(delta);
  }

  #openText(type: OpenText['type'], id: unknown): OpenText {
    const known = this.#texts.find((one) => one.id === id && one.type === type);
    if (known !== undefined) return known;
    const made: OpenText = { type, text: '', id };
    this.#texts.push(made);
    this.content.push(made);
    return made;
  }
}
