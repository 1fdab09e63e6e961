/** How a stream came to its end. */
export type StreamEnd =
  | { readonly type: 'done' }
  | { readonly type: 'cancelled'; readonly reason: unknown }
  | { readonly type: 'error'; readonly error: unknown };

export interface TapCallbacks<T> {
  /** Sees each part before the reader gets it. Must not throw. */
  readonly part: (part: T) => void;
  /** Comes once. Must not throw. */
  readonly end: (end: StreamEnd) => void;
}

/**
 * The same stream, observed. Pulls only when its reader pulls (no buffer of its own), so back-pressure, timing, errors
 * and cancellation pass through unchanged; unlike a TransformStream it tells a cancel from an error.
 *
 * @param Class the class of the result, for frameworks with a stream class of their own
 */
export function tapStream<T>(
  source: ReadableStream<T>,
  callbacks: TapCallbacks<T>,
  Class: new (
    source: UnderlyingDefaultSource<T>,
    strategy: QueuingStrategy<T>,
  ) => ReadableStream<T> = ReadableStream,
): ReadableStream<T> {
  const reader = source.getReader();
  return new Class(
    {
      // Promise callbacks instead of an async function: this runs for each part of each stream.
      pull: (controller) =>
        reader.read().then(
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
        ),
      cancel(reason: unknown) {
        callbacks.end({ type: 'cancelled', reason });
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
