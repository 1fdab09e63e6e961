/**
 * The texts of trajectories on their way to the store's thread: as bytes outside the heap, which both threads see. They
 * make up nearly all of what waits, and as strings the garbage collector of the host would copy them again and again
 * until they are stored; what a full disk refuses is sent once more without being written anew.
 */

/** Where the text of a trajectory lies. */
export interface BodyPlace {
  readonly chunk: SharedArrayBuffer;
  readonly from: number;
  readonly until: number;
}

/** Bytes; a longer text has a chunk of its own. */
const chunkSize = 256 * 1024;

export class BodyWriter {
  #chunk: Buffer<SharedArrayBuffer> = Buffer.from(new SharedArrayBuffer(0));
  #used = 0;

  /** Writes the text, as UTF-8. */
  add(text: string): BodyPlace {
    const chunk = this.#withRoomFor(text);
    const from = this.#used;
    this.#used += chunk.write(text, from);
    return { chunk: chunk.buffer, from, until: this.#used };
  }

  #withRoomFor(text: string): Buffer<SharedArrayBuffer> {
    const room = this.#chunk.length - this.#used;
    // No character takes more than three bytes for each of its code units: nearly always there is no need to count.
    if (text.length * 3 <= room || Buffer.byteLength(text) <= room) return this.#chunk;
    this.#chunk = Buffer.from(new SharedArrayBuffer(Math.max(Buffer.byteLength(text), chunkSize)));
    this.#used = 0;
    return this.#chunk;
  }
}

/** The bytes, UTF-8, of the text that `BodyWriter` has put there. Throws RangeError where the chunk ends before it. */
export function bodyBytes({ chunk, from, until }: BodyPlace): Buffer<SharedArrayBuffer> {
  return Buffer.from(chunk, from, until - from);
}
