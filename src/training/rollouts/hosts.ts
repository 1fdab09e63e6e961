/** Who may start now: so many at a time in all, so many on one host, and none on a host that asked for a pause. */
import pLimit, { type LimitFunction } from 'p-limit';

interface Host {
  readonly limit: LimitFunction;
  pausedUntil: number;
}

export class HostGates {
  readonly #all: LimitFunction;
  readonly #perHost: number;
  readonly #hosts = new Map<string, Host>();

  constructor(options: { readonly concurrency: number; readonly perHost: number }) {
    this.#all = pLimit(options.concurrency);
    this.#perHost = options.perHost;
  }

  /** Runs `work` once there is room. A host that pauses holds up nobody else: its own place comes first. */
  run<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const host = this.#host(name);
    return host.limit(async () => {
      while (host.pausedUntil > Date.now() && !signal.aborted)
        await pause(host.pausedUntil - Date.now(), signal);
      return this.#all(work);
    });
  }

  /** Starts nothing on this host for so many milliseconds. */
  pause(name: string, milliseconds: number): void {
    const host = this.#host(name);
    host.pausedUntil = Math.max(host.pausedUntil, Date.now() + milliseconds);
  }

  #host(name: string): Host {
    let host = this.#hosts.get(name);
    if (host === undefined) this.#hosts.set(name, (host = { limit: pLimit(this.#perHost), pausedUntil: 0 }));
    return host;
  }
}

/** Ends early, without an error, where the signal does. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done, { once: true });
  });
}
