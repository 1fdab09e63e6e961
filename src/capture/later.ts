import { performance } from 'node:perf_hooks';

/** More than this is done at once: a host that never comes to its timers must not pile work up. */
const most = 10_000;

/** The share of its time that the event loop works, above which the host counts as busy. */
const busy = 0.9;

export interface LaterOptions {
  /** How long the first piece waits, milliseconds. */
  readonly lingerMs: number;
  /** How long it waits at most where the host is busy. Default: `lingerMs`. */
  readonly busyMs?: number;
  /** Milliseconds of work in one turn of the event loop. */
  readonly sliceMs: number;
}

/**
 * Small pieces of work that nobody waits for, done together a little later, if possible while the host waits for an
 * answer. Done one by one between its calls, they would cool its caches each time; done all in one turn, they would hold
 * its event loop up.
 */
export class Later {
  readonly #options: Required<LaterOptions>;
  #work: (() => void)[] = [];
  /** Where in `#work` the first piece is that has not been done. */
  #next = 0;
  #timer: NodeJS.Timeout | undefined;
  #waitsSince = 0;

  constructor(options: LaterOptions) {
    this.#options = { busyMs: options.lingerMs, ...options };
  }

  /** The process stays alive until it is done. `work` must not throw. */
  add(work: () => void): void {
    this.#work.push(work);
    if (this.#work.length - this.#next >= most) {
      this.flush();
      return;
    }
    if (this.#timer !== undefined) return;
    this.#waitsSince = performance.now();
    this.#wait();
  }

  /** Does everything that waits, now. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#doUntil(Infinity);
  }

  #wait(): void {
    const { lingerMs, busyMs } = this.#options;
    const before = performance.eventLoopUtilization();
    this.#timer = setTimeout(() => {
      const { utilization } = performance.eventLoopUtilization(before);
      if (utilization > busy && performance.now() - this.#waitsSince < busyMs) this.#wait();
      else this.#slice();
    }, lingerMs);
  }

  #slice(): void {
    this.#doUntil(performance.now() + this.#options.sliceMs);
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
