/** Async iterators that are watched, moved into a scope, or opened late, at one promise a step. */
import type { StreamEnd, TapCallbacks } from '../../capture/tap-callbacks.ts';

/** The same iterator, observed. */
export function tapIterator<T>(source: AsyncIterator<T>, callbacks: TapCallbacks<T>): AsyncGenerator<T> {
  const end = (how: StreamEnd): void => {
    callbacks.end(how);
  };
  return generatorOf({
    next: () =>
      source.next().then(
        (result) => {
          if (result.done === true) end({ type: 'done' });
          else callbacks.part(result.value);
          return result;
        },
        (error: unknown) => {
          end({ type: 'error', error });
          throw error;
        },
      ),
    leave: (reason) => {
      end({ type: 'cancelled', reason });
      return source.return?.() ?? Promise.resolve();
    },
  });
}

/** An iterator each of whose steps runs in `scope`; `first`: a step that has been taken already. */
export function scopedIterator<T>(
  source: AsyncIterator<T>,
  scope: <R>(work: () => R) => R,
  first?: IteratorResult<T>,
): AsyncGenerator<T> {
  let waiting = first;
  return generatorOf({
    next: () => {
      const taken = waiting;
      waiting = undefined;
      return taken === undefined ? scope(() => source.next()) : Promise.resolve(taken);
    },
    leave: () => scope(() => source.return?.() ?? Promise.resolve()),
  });
}

/** An iterator that is opened at its first step, and never where nobody takes one. */
export function lateIterator<T>(open: () => Promise<AsyncIterator<T>>): AsyncGenerator<T> {
  let source: AsyncIterator<T> | undefined;
  let opening: Promise<AsyncIterator<T>> | undefined;
  return generatorOf({
    next: () => {
      if (source !== undefined) return source.next();
      opening ??= open().then((opened) => (source = opened));
      return opening.then((opened) => opened.next());
    },
    leave: async () => {
      if (opening !== undefined) await (await opening).return?.();
    },
  });
}

interface Steps<T> {
  readonly next: () => Promise<IteratorResult<T>>;
  /** Comes when the reader stops before the end. */
  readonly leave: (reason?: unknown) => Promise<unknown>;
}

/** What `for await`, `yield*` and LangChain's streams need of a generator. */
function generatorOf<T>({ next, leave }: Steps<T>): AsyncGenerator<T> {
  const generator: AsyncGenerator<T> = {
    next,
    return: async (value: unknown) => {
      await leave();
      return { done: true, value: (await value) as undefined };
    },
    throw: async (error: unknown) => {
      await leave(error);
      throw error;
    },
    [Symbol.asyncIterator]: () => generator,
    [Symbol.asyncDispose]: async () => {
      await leave();
    },
  };
  return generator;
}
