/** Watching a stream without changing it. */
import type { TapCallbacks } from './tap-callbacks.ts';

/**
 * The same stream, observed. Reads only when its reader asks (no buffer of its own), so back-pressure, timing, errors
 * and cancellation pass through unchanged; unlike a TransformStream it tells a cancel from an error.
 */
export function tapStream<T>(source: ReadableStream<T>, callbacks: TapCallbacks<T>): ReadableStream<T> {
  return tapReader(source.getReader(), callbacks);
}

/** As `tapStream`, for a stream that is being read already. */
export function tapReader<T>(
  source: ReadableStreamDefaultReader<T>,
  callbacks: TapCallbacks<T>,
): ReadableStream<T> {
  return new ReadableStream(new TappedSource(source, callbacks), unbuffered);
}

/** As `tapStream`, as a stream of the class of a framework. */
export function tapStreamAs<T>(
  Class: new (source: UnderlyingDefaultSource<T>, strategy: QueuingStrategy<T>) => ReadableStream<T>,
  source: ReadableStream<T>,
  callbacks: TapCallbacks<T>,
): ReadableStream<T> {
  return new Class(new TappedSource(source.getReader(), callbacks), unbuffered);
}

const unbuffered = { highWaterMark: 0 };

/** A class, so that what is made for each stream are two fields. */
class TappedSource<T> implements UnderlyingDefaultSource<T> {
  readonly #source: ReadableStreamDefaultReader<T>;
  readonly #callbacks: TapCallbacks<T>;

  constructor(source: ReadableStreamDefaultReader<T>, callbacks: TapCallbacks<T>) {
    this.#source = source;
    this.#callbacks = callbacks;
  }

  // Promise callbacks instead of an async function: this runs for each part of each stream.
  pull(controller: ReadableStreamDefaultController<T>): Promise<void> {
    const callbacks = this.#callbacks;
    return this.#source.read().then(
      (next) => {
        if (next.done) {
          callbacks.end({ type: 'done' });
          controller.close();
          return;
        }
        callbacks.part(next.value);
        controller.enqueue(next.value);
      },
      (error: unknown) => {
        callbacks.end({ type: 'error', error });
        controller.error(error);
      },
    );
  }

  cancel(reason: unknown): Promise<void> {
    this.#callbacks.end({ type: 'cancelled', reason });
    return this.#source.cancel(reason);
  }
}
