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
