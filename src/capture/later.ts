/** More than this is done at once: a host that never comes to its timers must not pile work up. */
const most = 10_000;

/**
 * Small pieces of work that nobody waits for, done together a little later. Done one by one between the host's calls,
 * they would cool its caches each time; done all in one turn, they would hold its event loop up.
 */
export class Later {
  readonly #lingerMs: number;
  readonly #sliceMs: number;
  #work: (() => void)[] = [];
  /** Where in `#work` the first piece is that has not been done. */
  #next = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Milliseconds. `lingerMs`: how long the first piece waits. `sliceMs`: of work in one turn of the event loop. */
  constructor(options: { readonly lingerMs: number; readonly sliceMs: number }) {
    this.#lingerMs = options.lingerMs;
    this.#sliceMs = options.sliceMs;
  }

  /** The process stays alive until it is done. `work` must not throw. */
  add(work: () => void): void {
    this.#work.push(work);
    if (this.#work.length - this.#next >= most) {
      this.flush();
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#slice();
    }, this.#lingerMs);
  }

  /** Does everything that waits, now. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#doUntil(Infinity);
  }

  #slice(): void {
    this.#doUntil(performance.now() + this.#sliceMs);
    if (this.#work.length > 0) {
      setImmediate(() => {
        this.#slice();
      });
    } else this.#timer = undefined;
  }

  /** At least one piece. A piece may add others, or flush. */
  #doUntil(end: number): void {
    do {
      const work = this.#work[this.#next];
      if (work === undefined) break;
      this.#next += 1;
      work();
    } while (performance.now() < end);
    if (this.#next < this.#work.length) return;
    this.#work = [];
    this.#next = 0;
  }
}
