/** More than this is done at once: a host that never comes to its timers must not pile work up. */
const most = 10_000;

/**
 * Small pieces of work that nobody waits for, done together a little later. Done one by one between the host's calls,
 * they would cool its caches each time; done all in one turn, they would hold its event loop up.
 */
export class Later {
  readonly #lingerMs: number;
  readonly #sliceSize: number;
  #work: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** `lingerMs`: how long the first piece waits. `sliceSize`: pieces in one turn of the event loop. */
  constructor(options: { readonly lingerMs: number; readonly sliceSize: number }) {
    this.#lingerMs = options.lingerMs;
    this.#sliceSize = options.sliceSize;
  }

  /** The process stays alive until it is done. `work` must not throw. */
  add(work: () => void): void {
    this.#work.push(work);
    if (this.#work.length >= most) {
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
    for (const work of this.#work.splice(0)) work();
  }

  #slice(): void {
    for (const work of this.#work.splice(0, this.#sliceSize)) work();
    if (this.#work.length > 0) {
      setImmediate(() => {
        this.#slice();
      });
    } else this.#timer = undefined;
  }
}
