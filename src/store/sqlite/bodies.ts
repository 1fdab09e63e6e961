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
    const length = Buffer.byteLength(text);
    let last = this.#chunks.at(-1);
    if (last === undefined || this.#used + length > last.length) {
      // Not from Node's pool, whose memory cannot be handed over.
      last = Buffer.allocUnsafeSlow(Math.max(length, chunkSize));
      this.#chunks.push(last);
      this.#used = 0;
    }
    const from = this.#used;
    last.write(text, from);
    this.#used += length;
    return { chunk: this.#chunks.length - 1, from, until: this.#used };
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
