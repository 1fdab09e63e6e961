/**
 * Trajectories on their way to the store's thread: as bytes outside the heap, which both threads see. As objects, the
 * garbage collector of the host would copy them again and again until they are stored, and each way between the threads
 * would copy them once more; what a full disk refuses is sent once more without being written anew.
 */
import { sizeOf, writeNumbers, type Numbers } from '../numbers.ts';

/** What is written of a trajectory; both texts are JSON. */
export interface RecordParts {
  readonly numbers: Numbers;
  readonly head: string;
  readonly body: string;
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
    const size = sizeOf(parts.numbers);
    const chunk = this.#withRoomFor(parts, size);
    const from = this.#used;
    writeNumbers(parts.numbers, chunk.buffer, from);
    const head = from + size;
    const body = head + chunk.write(parts.head, head);
    const until = body + chunk.write(parts.body, body);
    this.#used = Math.ceil(until / alignment) * alignment;
    return { chunk: chunk.buffer, from, head, body, until };
  }

  #withRoomFor({ head, body }: RecordParts, numbers: number): Buffer<SharedArrayBuffer> {
    const room = this.#chunk.length - this.#used - numbers;
    // Nearly always there is no need to count.
    if ((head.length + body.length) * longestCharacter <= room) return this.#chunk;
    const texts = Buffer.byteLength(head) + Buffer.byteLength(body);
    if (texts <= room) return this.#chunk;
    this.#chunk = Buffer.from(new SharedArrayBuffer(Math.max(numbers + texts, chunkSize)));
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
