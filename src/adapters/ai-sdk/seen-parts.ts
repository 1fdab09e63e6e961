/** What the parts of a stream have said so far. Holds the text, not the parts: there is one for each few letters. */
import { errorOutcome, streamOutcome } from '../../capture/outcome.ts';
import type { StreamEnd } from '../../capture/stream-tap.ts';
import type { CallOutcome } from '../../trajectory/records.ts';
import type { Part } from './specification.ts';

type OpenText = { readonly type: 'text' | 'reasoning'; text: string };

export class SeenParts {
  /** Content parts as `doGenerate` would have given them: text, reasoning, tool calls. */
  readonly content: Part[] = [];
  finish: Part | undefined;
  metadata: Part | undefined;
  readonly #texts = new Map<unknown, OpenText>();
  readonly #reasonings = new Map<unknown, OpenText>();
  #error: Part | undefined;

  add(part: Part): void {
    switch (part.type) {
      case 'text-delta':
        this.#addText(this.#texts, 'text', part);
        break;
      case 'reasoning-delta':
        this.#addText(this.#reasonings, 'reasoning', part);
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

  #addText(open: Map<unknown, OpenText>, type: OpenText['type'], part: Part): void {
    const { id, delta } = part;
    let text = open.get(id);
    if (text === undefined) {
      text = { type, text: '' };
      open.set(id, text);
      this.content.push(text);
    }
    text.text += String(delta);
  }
}
