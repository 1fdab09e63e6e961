/**
 * Rests in the work of the store's thread. With two cores, Linux was seen to keep it and the host's thread on one of them
 * while the other had nothing to do, and the one that works without a pause keeps the other waiting, for up to a tick of
 * four milliseconds (docs/decisions/0008).
 */

/** Of work without a rest, milliseconds: what the host then waits at most. */
const workMs = 0.3;
/** Asked for, milliseconds; the system makes it some 70 µs. */
const restMs = 0.001;

export class Rests {
  readonly #nobodyWakes = new Int32Array(new SharedArrayBuffer(4));
  #workedSince = performance.now();

  /** Where work begins that may be long. */
  begin(): void {
    this.#workedSince = performance.now();
  }

  /** Between two pieces of it: rests where that is due. Elsewhere than on Linux a rest may take milliseconds, so there is none. */
  restIfDue(): void {
    if (process.platform !== 'linux' || performance.now() - this.#workedSince < workMs) return;
    Atomics.wait(this.#nobodyWakes, 0, 0, restMs);
    this.#workedSince = performance.now();
  }
}
