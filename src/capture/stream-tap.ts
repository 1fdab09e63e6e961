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
 */
export function tapStream<T>(source: ReadableStream<T>, callbacks: TapCallbacks<T>): ReadableStream<T> {
  const reader = source.getReader();
  return new ReadableStream<T>(
    {
      async pull(controller) {
        let next: ReadableStreamReadResult<T>;
        try {
          next = await reader.read();
        } catch (error) {
          callbacks.end({ type: 'error', error });
          controller.error(error);
          return;
        }
        if (next.done) {
          callbacks.end({ type: 'done' });
          controller.close();
          return;
        }
        callbacks.part(next.value);
        controller.enqueue(next.value);
      },
      async cancel(reason: unknown) {
        callbacks.end({ type: 'cancelled', reason });
        await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
