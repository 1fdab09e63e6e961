/**
 * The numbers of a trajectory's tokens as bytes: all log-probabilities, eight bytes each, then all ids, four bytes each;
 * little-endian, as all machines are that Node runs on, but for IBM's mainframes. Written as digits, log-probabilities
 * take a third of the time of writing a trajectory down and two and a half times their bytes.
 */
import { InvalidRecordError } from '../../errors.ts';

type Lists = (readonly number[])[];

/** Takes lists out of a trajectory, in their order, and writes them. */
export class NumberTaker {
  readonly #logprobs: Lists = [];
  readonly #ids: Lists = [];

  /** Its length, where it fits into four bytes each; else the list, which then stays in the text. */
  ids(list: number[]): number[] | number {
    return takeWhere(list, isUnsigned, this.#ids);
  }

  /** Its length, where no log-probability is missing; else the list, which then stays in the text. */
  logprobs(list: (number | null)[]): (number | null)[] | number {
    return takeWhere(list, isComplete, this.#logprobs);
  }

  /** Of what `write` writes. */
  get byteLength(): number {
    return (
      lengthOf(this.#logprobs) * Float64Array.BYTES_PER_ELEMENT +
      lengthOf(this.#ids) * Uint32Array.BYTES_PER_ELEMENT
    );
  }

  /** `at`: a multiple of eight. */
  write(buffer: ArrayBufferLike, at: number): void {
    const doubles = new Float64Array(buffer, at, lengthOf(this.#logprobs));
    fill(doubles, this.#logprobs);
    fill(new Uint32Array(buffer, at + doubles.byteLength, lengthOf(this.#ids)), this.#ids);
  }
}

/** Gives the lists back in their order, each where it finds its length. Both throw InvalidRecordError where bytes are missing. */
export class NumberReader {
  readonly #bytes: ArrayBuffer;
  #nextLogprob = 0;
  #nextId: number;

  /** `logprobs`: how many there are. */
  constructor(bytes: Uint8Array, logprobs: number) {
    // A copy: what a database hands out begins anywhere, and the views below cannot.
    this.#bytes = new Uint8Array(bytes).buffer;
    this.#nextId = logprobs * Float64Array.BYTES_PER_ELEMENT;
  }

  ids(stored: number[] | number): number[] {
    if (typeof stored !== 'number') return stored;
    const from = this.#nextId;
    this.#nextId = this.#until(from + stored * Uint32Array.BYTES_PER_ELEMENT);
    return [...new Uint32Array(this.#bytes, from, stored)];
  }

  logprobs(stored: (number | null)[] | number): (number | null)[] {
    if (typeof stored !== 'number') return stored;
    const from = this.#nextLogprob;
    this.#nextLogprob = this.#until(from + stored * Float64Array.BYTES_PER_ELEMENT);
    return [...new Float64Array(this.#bytes, from, stored)];
  }

  #until(end: number): number {
    if (end <= this.#bytes.byteLength) return end;
    throw new InvalidRecordError({
      field: 'tokens',
      received: `${String(this.#bytes.byteLength)} bytes of numbers`,
      expected: `at least ${String(end)}`,
      fix: 'The store is damaged at this record: restore it from a backup, or delete the record.',
    });
  }
}

function takeWhere<T>(
  list: T[],
  fits: (list: readonly unknown[]) => list is readonly number[],
  taken: Lists,
) {
  if (!fits(list)) return list;
  taken.push(list);
  return list.length;
}

function isUnsigned(list: readonly unknown[]): list is readonly number[] {
  for (let at = 0; at < list.length; at += 1) if ((list[at] as number) >>> 0 !== list[at]) return false;
  return true;
}

/** A loop, not `every`: a number with a fraction that is handed to a function becomes an object on the heap. */
function isComplete(list: readonly unknown[]): list is readonly number[] {
  for (let at = 0; at < list.length; at += 1) if (!Number.isFinite(list[at])) return false;
  return true;
}

function lengthOf(lists: Lists): number {
  let length = 0;
  for (const list of lists) length += list.length;
  return length;
}

function fill(view: Float64Array | Uint32Array, lists: Lists): void {
  let at = 0;
  for (const list of lists) {
    view.set(list, at);
    at += list.length;
  }
}
