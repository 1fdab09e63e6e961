/**
 * The long texts of a trajectory beside its JSON, one after the other. Inside of it, each would be copied on the host's
 * thread character by character, into a string that is garbage a moment later.
 */
import { InvalidRecordError } from '../../errors.ts';

/** Code units. A shorter text is dearer by itself than in the JSON. */
const longFrom = 100;

/** Takes texts out of a trajectory, in their order, and writes them. */
export class TextTaker {
  readonly #texts: string[] = [];

  /** Its length in code units, where it has been taken; zero for what is short, or no text. */
  take(value: unknown): number {
    // Half a surrogate pair has no UTF-8: JSON writes it as an escape.
    if (typeof value !== 'string' || value.length < longFrom || !value.isWellFormed()) return 0;
    this.#texts.push(value);
    return value.length;
  }

  /** In code units. */
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

/** Gives the texts back in their order. */
export class TextReader {
  readonly #all: string;
  #next = 0;

  /** `all`: the texts, joined. */
  constructor(all: string) {
    this.#all = all;
  }

  /** Throws InvalidRecordError where fewer than `length` code units are left. */
  next(length: number): string {
    const from = this.#next;
    this.#next += length;
    if (this.#next <= this.#all.length) return this.#all.slice(from, this.#next);
    throw new InvalidRecordError({
      field: 'content',
      received: `${String(this.#all.length)} characters of text`,
      expected: `at least ${String(this.#next)}`,
      fix: 'The store is damaged at this record: restore it from a backup, or delete the record.',
    });
  }
}
