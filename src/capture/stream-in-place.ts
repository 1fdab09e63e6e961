/**
 * Watching a stream from within: the object that a provider has made stays the one that is read, and its methods become
 * those of a class that watches. A second stream around it would cost more than all else that recording a short one does.
 */
import { pump } from './stream-pump.ts';
import { tapReader, tapStream } from './stream-tap.ts';
import type { TapCallbacks } from './tap-callbacks.ts';

/**
 * As `tapStream`, and gives `source` itself back where it is of the global class and can be changed. Whoever moves it to
 * another thread by `postMessage` takes it away unwatched.
 */
export function tapInPlace<T>(source: ReadableStream<T>, callbacks: TapCallbacks<T>): ReadableStream<T> {
  if (Object.getPrototypeOf(source) !== ReadableStream.prototype || !Object.isExtensible(source))
    return tapStream(source, callbacks);
  // Before the fields of the watch: with them, V8 takes twice as long to change it.
  Object.setPrototypeOf(source, WatchedStream.prototype);
  new Watch(source, callbacks);
  return source;
}

/** Its instances are the objects that it is given: the private fields of a class that extends it go onto them. */
const Given = function (object: object): object {
  return object;
} as unknown as new (object: object) => object;

/** What a watched stream knows of its watching; nobody who looks at the stream sees it. */
class Watch<T> extends Given {
  readonly #callbacks: TapCallbacks<T>;
  #instead: ReadableStream<T> | undefined;

  constructor(stream: ReadableStream<T>, callbacks: TapCallbacks<T>) {
    super(stream);
    this.#callbacks = callbacks;
  }

  static callbacks<T>(stream: ReadableStream<T>): TapCallbacks<T> {
    return (stream as unknown as Watch<T>).#callbacks;
  }

  /** What is read in the place of `stream`, once somebody does. */
  static instead<T>(stream: ReadableStream<T>): ReadableStream<T> | undefined {
    return (stream as unknown as Watch<T>).#instead;
  }

  /** The same, made for whoever asks first; undefined where the stream is piped, and refuses everything by itself. */
  static open<T>(stream: ReadableStream<T>): ReadableStream<T> | undefined {
    const watch = stream as unknown as Watch<T>;
    if (watch.#instead === undefined && !stream.locked)
      watch.#instead = tapReader(nativeReader(stream), watch.#callbacks);
    return watch.#instead;
  }
}

class WatchedStream<T> extends ReadableStream<T> {
  override pipeThrough<U>(
    transform: ReadableWritablePair<U, T>,
    options?: StreamPipeOptions,
  ): ReadableStream<U> {
    const { writable, readable } = transform;
    const isPlain = options === undefined && writable instanceof WritableStream && !writable.locked;
    if (!isPlain || Watch.instead(this) !== undefined)
      return Watch.open(this)?.pipeThrough(transform, options) ?? super.pipeThrough(transform, options);
    pump(nativeReader(this), writable, Watch.callbacks(this));
    return readable;
  }

  override pipeTo(destination: WritableStream<T>, options?: StreamPipeOptions): Promise<void> {
    return Watch.open(this)?.pipeTo(destination, options) ?? super.pipeTo(destination, options);
  }

  override tee(): [ReadableStream<T>, ReadableStream<T>] {
    return Watch.open(this)?.tee() ?? super.tee();
  }

  override cancel(reason?: unknown): Promise<void> {
    return Watch.open(this)?.cancel(reason) ?? super.cancel(reason);
  }

  override values(options?: ReadableStreamIteratorOptions): ReadableStreamAsyncIterator<T> {
    return Watch.open(this)?.values(options) ?? super.values(options);
  }

  override [Symbol.asyncIterator](options?: ReadableStreamIteratorOptions): ReadableStreamAsyncIterator<T> {
    return this.values(options);
  }
}

function nativeReader<T>(stream: ReadableStream<T>): ReadableStreamDefaultReader<T> {
  return ReadableStream.prototype.getReader.call(stream) as ReadableStreamDefaultReader<T>;
}

// Not in the class: to TypeScript `locked` is a field, and `getReader` three functions, one for each mode.
Object.defineProperties(WatchedStream.prototype, {
  // For those who ask what a stream is.
  constructor: { value: ReadableStream },
  locked: {
    get(this: ReadableStream): boolean {
      return (
        Watch.instead(this)?.locked ??
        (Reflect.get<object, 'locked'>(ReadableStream.prototype, 'locked', this) as boolean)
      );
    },
  },
  getReader: {
    value(this: ReadableStream, options?: ReadableStreamGetReaderOptions) {
      return ReadableStream.prototype.getReader.call(Watch.open(this) ?? this, options as undefined);
    },
  },
});
