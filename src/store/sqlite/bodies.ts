/**
 * The texts of trajectories on their way to the store's thread: as bytes outside the heap. They make up nearly all of
 * what waits, and as strings the garbage collector of the host would copy them again and again until they are sent.
 */

/** Where the text of a trajectory lies: bytes of one of the chunks that are sent along. */
export interface BodyPlace {
  readonly chunk: number;
  readonly from: number;
  readonly until: number;
}

/** Bytes; a longer text has a chunk of its own. */
const chunkSize = 256 * 1024;

export class BodyWriter {
  #chunks: Buffer<ArrayBuffer>[] = [];
  #used = 0;

  /** Writes the text, as UTF-8. */
  add(text: string): BodyPlace {
    const chunk = this.#withRoomFor(text);
    const from = this.#used;
    this.#used += chunk.write(text, from);
    return { chunk: this.#chunks.length - 1, from, until: this.#used };
  }

  #withRoomFor(text: string): Buffer {
    const last = this.#chunks.at(-1);
    if (last !== undefined) {
      const room = last.length - this.#used;
      // No character takes more than three bytes for each of its code units: nearly always there is no need to count.
      if (text.length * 3 <= room || Buffer.byteLength(text) <= room) return last;
    }
    // Not from Node's pool, whose memory cannot be handed over.
    const made = Buffer.allocUnsafeSlow(Math.max(Buffer.byteLength(text), chunkSize));
    this.#chunks.push(made);
    this.#used = 0;
    return made;
  }

  /** The chunks with everything that was added since the last time. */
  take(): ArrayBuffer[] {
    const chunks = this.#chunks.map((chunk) => chunk.buffer);
    this.#chunks = [];
    return chunks;
  }
}

/** The text that `BodyWriter` has put there. Throws RangeError where there is no such chunk. */
export function readBody(chunks: readonly ArrayBuffer[], { chunk, from, until }: BodyPlace): string {
  const bytes = chunks[chunk];
  if (bytes === undefined) throw new RangeError(`There is no chunk ${String(chunk)}.`);
  return Buffer.from(bytes, from, until - from).toString();
}
