/** Server-sent events off the wire, one by one; nothing is read ahead of who asks. */
import { createParser } from 'eventsource-parser';
import { tapStream } from '../stream-tap.ts';
import type { StreamEnd } from '../tap-callbacks.ts';

/** The data of the event that ends OpenAI's streams. */
export const endMark = '[DONE]';

/** Bytes → the data of each event in them, also where one is split between them. */
function eventDecoder(onData: (data: string) => void): (bytes: Uint8Array) => void {
  const decoder = new TextDecoder();
  const parser = createParser({
    onEvent: ({ data }) => {
      onData(data);
    },
  });
  return (bytes) => {
    parser.feed(decoder.decode(bytes, { stream: true }));
  };
}

/** Reads events from a body, pulling only when asked. */
export class EventReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #waiting: string[] = [];
  readonly #decode = eventDecoder((data) => this.#waiting.push(data));

  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader();
  }

  /** The data of the next event; undefined at the end. Rejects where the body breaks off. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const data = this.#waiting.shift();
      if (data !== undefined) return data;
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#decode(value);
    }
  }

  async cancel(reason: unknown): Promise<void> {
    await this.#reader.cancel(reason);
  }
}

/** The same bytes, with their events seen on the way. The callbacks must not throw. */
export function tapEvents(
  body: ReadableStream<Uint8Array>,
  callbacks: { readonly data: (data: string) => void; readonly end: (end: StreamEnd) => void },
): ReadableStream<Uint8Array> {
  return tapStream(body, { part: eventDecoder(callbacks.data), end: callbacks.end });
}

const encoder = new TextEncoder();

/** One event as it goes over the wire. */
export function encodeEvent(data: string): Uint8Array {
  return encoder.encode(`data: ${data}\n\n`);
}
