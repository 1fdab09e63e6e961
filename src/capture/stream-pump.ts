import type { TapCallbacks } from './tap-callbacks.ts';

/**
 * Moves all parts of `source` into `sink` as `pipeTo` does without options (Streams Standard, section 4.9.1,
 * ReadableStreamPipeTo), and shows each one on its way: the sink's back-pressure holds the source up, an error of the
 * source aborts the sink, an error of the sink cancels the source, and the end closes the sink. `sink` must not be
 * locked.
 */
export function pump<T>(
  source: ReadableStreamDefaultReader<T>,
  sink: WritableStream<T>,
  callbacks: TapCallbacks<T>,
): void {
  const writer = sink.getWriter();
  let over = false;
  const sinkFailed = (reason: unknown): void => {
    if (over) return;
    over = true;
    callbacks.end({ type: 'cancelled', reason });
    source.cancel(reason).catch(ignore);
  };
  const sourceFailed = (error: unknown): void => {
    if (over) return;
    over = true;
    callbacks.end({ type: 'error', error });
    writer.abort(error).catch(ignore);
  };
  const take = (next: ReadableStreamReadResult<T>): void => {
    if (over) return;
    if (next.done) {
      over = true;
      callbacks.end({ type: 'done' });
      writer.close().catch(ignore);
      return;
    }
    callbacks.part(next.value);
    const written = writer.write(next.value);
    if ((writer.desiredSize ?? 0) > 0) {
      written.catch(ignore); // told by `closed`
      read();
    } else written.then(waitAndRead, ignore);
  };
  const read = (): void => {
    source.read().then(take, sourceFailed);
  };
  /** The sink has room again, in most cases: it has taken the part in. */
  const waitAndRead = (): void => {
    if (over) return;
    if ((writer.desiredSize ?? 0) > 0) read();
    else writer.ready.then(read, ignore);
  };
  writer.closed.then(() => {
    // Closed by somebody else: nothing can be written any more. Asked first, as an error costs more than many parts.
    if (!over) sinkFailed(new TypeError('The stream that was piped into is closed.'));
  }, sinkFailed);
  waitAndRead();
}

function ignore(): void {
  // Whoever reads the other end meets the error there.
}
