/**
 * The long texts of a trajectory beside its JSON, one after the other. Inside of it, each would be copied on the host's
 * thread character by character, into a string that is garbage a moment later; and what a tool has answered would stand
 * there twice, as its result and in the prompt that follows.
 */
import { InvalidRecordError } from '../../errors.ts';

/** Code units. A shorter text is dearer by itself than in the JSON. */
const longFrom = 100;
/** How many of the texts before may be the same: results of tools that were called together. */
const repeatedWithin = 8;

/** Takes texts out of a trajectory, each once, and writes them. */
export class TextTaker {
  readonly #texts: string[] = [];

  /** Its number, counted from one, where it lies apart; zero for what is short, or no text. */
  take(value: unknown): number {
    // Half a surrogate pair has no UTF-8: JSON writes it as an escape.
    if (typeof value !== 'string' || value.length < longFrom || !value.isWellFormed()) return 0;
    const last = this.#texts.length - 1;
    for (let at = last; at >= 0 && at > last - repeatedWithin; at -= 1) {
      if (this.#texts[at] === value) return at + 1;
    }
    return this.#texts.push(value);
  }

  /** Of each text, in code units. */
  get lengths(): number[] {
    return this.#texts.map(({ length }) => length);
  }

  /** Of all, in code units. */
  get length(): number {
    let length = 0;
    for (const text of this.#texts) length += text.length;
    return length;
  }

  /** Of what `write` writes. */
  get byteLength(): number {
    let length = 0;
    for (const text of this.#texts) length += Buffer.byteLength(text);
    return length;
  }

  /** As UTF-8; returns where it ends. */
  write(buffer: Buffer, at: number): number {
    let end = at;
    for (const text of this.#texts) end += buffer.write(text, end);
    return end;
  }
}

/** Gives the texts back by their numbers. */
export class TextReader {
  readonly #texts: readonly string[];

  /** `all`: the texts, joined. Throws InvalidRecordError where fewer than `lengths` are there. */
  constructor(all: string, lengths: readonly number[]) {
    let end = 0;
    this.#texts = lengths.map((length) => {
      end += length;
      return all.slice(end - length, end);
    });
    if (end > all.length)
      throw damaged(`${String(all.length)} characters of text`, `at least ${String(end)}`);
  }

  /** Throws InvalidRecordError where there is none. */
  get(number: number): string {
    const text = this.#texts[number - 1];
    if (text === undefined) throw damaged(`text ${String(number)}`, `at most ${String(this.#texts.length)}`);
    return text;
  }
}

function damaged(received: string, expected: string): InvalidRecordError {
  return new InvalidRecordError({
    field: 'content',
    received,
    expected,
    fix: 'The store is damaged at this record: restore it from a backup, or delete the record.',
  });
}
