/**
 * Trajectories on their way to the store's thread: as bytes outside the heap, which both threads see. As objects, the
 * garbage collector of the host would copy them again and again until they are stored, and each way between the threads
 * would copy them once more; what a full disk refuses is sent once more without being written anew.
 */
import type { NumberTaker } from '../encoding/numbers.ts';
import type { TextTaker } from '../encoding/texts.ts';
import { endOfJson } from './body.ts';

/** What is written of a trajectory. */
export interface RecordParts {
  readonly numbers: NumberTaker;
  /** JSON. */
  readonly head: string;
  /** JSON. */
  readonly body: string;
  /** Those of the body that lie behind it. */
  readonly texts: TextTaker;
}

/** Where a trajectory lies: its numbers up to `head`, its head up to `body`, its body up to `until`. */
export interface RecordPlace {
  readonly chunk: SharedArrayBuffer;
  readonly from: number;
  readonly head: number;
  readonly body: number;
  readonly until: number;
}

/** Bytes; a longer trajectory has a chunk of its own. */
const chunkSize = 256 * 1024;
/** Numbers begin at its multiples. */
const alignment = 8;
/** No character takes more bytes for each of its code units. */
const longestCharacter = 3;

export class RecordWriter {
  #chunk: Buffer<SharedArrayBuffer> = Buffer.from(new SharedArrayBuffer(0));
  #used = 0;

  add(parts: RecordParts): RecordPlace {
    const size = parts.numbers.byteLength;
    const chunk = this.#withRoomFor(parts, size);
    const from = this.#used;
    parts.numbers.write(chunk.buffer, from);
    const head = from + size;
    const body = head + chunk.write(parts.head, head);
    const texts = body + chunk.write(parts.body, body) + 1;
    chunk[texts - 1] = endOfJson;
    const until = parts.texts.write(chunk, texts);
    this.#used = Math.ceil(until / alignment) * alignment;
    return { chunk: chunk.buffer, from, head, body, until };
  }

  #withRoomFor({ head, body, texts }: RecordParts, numbers: number): Buffer<SharedArrayBuffer> {
    const room = this.#chunk.length - this.#used - numbers - 1;
    // Nearly always there is no need to count.
    if ((head.length + body.length + texts.length) * longestCharacter <= room) return this.#chunk;
    const bytes = Buffer.byteLength(head) + Buffer.byteLength(body) + texts.byteLength;
    if (bytes <= room) return this.#chunk;
    this.#chunk = Buffer.from(new SharedArrayBuffer(Math.max(numbers + bytes + 1, chunkSize)));
    this.#used = 0;
    return this.#chunk;
  }
}

/** What `RecordWriter` has put there, texts as UTF-8. Throws RangeError where the chunk ends before it. */
export function recordAt({ chunk, from, head, body, until }: RecordPlace): {
  readonly numbers: Buffer;
  readonly head: Buffer;
  readonly body: Buffer;
} {
  return {
    numbers: Buffer.from(chunk, from, head - from),
    head: Buffer.from(chunk, head, body - head),
    body: Buffer.from(chunk, body, until - body),
  };
}
