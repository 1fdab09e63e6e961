/** Keeps a sidecar running: restarts with growing pauses, gives up after too many failures, publishes again. */
import { AbortedError, BackendUnavailableError } from '../../errors.ts';
import type { SidecarHost } from './host.ts';
import { PublishedAdapters } from './published.ts';
import { SidecarProcess, type SidecarStart } from './sidecar-process.ts';
import { orAborted } from './wait.ts';

/** Failures within the window after which the circuit opens. */
const maximumFailures = 5;
const windowMs = 60_000;
const firstPauseMs = 200;
/** How long the circuit stays open before one more try. */
const openMs = 30_000;

export class Supervisor implements SidecarHost {
  readonly published = new PublishedAdapters();
  readonly #options: SidecarStart;
  readonly #closing = new AbortController();
  #current: Promise<SidecarProcess>;
  #failures: number[] = [];
  #restarts = 0;

  constructor(options: SidecarStart) {
    this.#options = options;
    this.#current = this.#launch();
    this.#current.catch(() => undefined); // reported to whoever asks for the process
  }

  /** How often the sidecar was started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** The running sidecar; waits for a restart that is under way. Throws BackendUnavailableError, SidecarError. */
  async process(signal?: AbortSignal): Promise<SidecarProcess> {
    if (this.#closing.signal.aborted) {
      throw new BackendUnavailableError('The backend is closed.', {
        fix: 'Start it again.',
        retryable: false,
      });
    }
    return orAborted(this.#current, signal);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const [current] = await Promise.allSettled([this.#current]);
    if (current.status === 'fulfilled') await current.value.stop();
  }

  async #launch(): Promise<SidecarProcess> {
    const sidecar = await SidecarProcess.start({ ...this.#options, signal: this.#closing.signal });
    for (const adapter of this.published) {
      await sidecar.client.publish(adapter.name, adapter.step, adapter.folder);
    }
    void sidecar.ended.then(() => {
      this.#onEnded(sidecar);
    });
    return sidecar;
  }

  #onEnded(sidecar: SidecarProcess): void {
    if (this.#closing.signal.aborted) return;
    this.#current = this.#restart(sidecar.stderrTail);
    this.#current.catch(() => undefined); // reported to whoever asks for the process
  }

  async #restart(tail: string): Promise<SidecarProcess> {
    let last = tail;
    for (;;) {
      const now = Date.now();
      this.#failures = [...this.#failures.filter((at) => now - at < windowMs), now];
      if (this.#failures.length > maximumFailures) {
        this.#closeCircuitLater();
        throw new BackendUnavailableError(
          `The sidecar failed ${String(this.#failures.length)} times within a minute. Its last lines:\n${last}\n`,
          { fix: 'Mend what they say; one more start is tried every 30 seconds.' },
        );
      }
      await pause(firstPauseMs * 2 ** (this.#failures.length - 1));
      if (this.#closing.signal.aborted) throw new AbortedError('Restarting the sidecar');
      try {
        const sidecar = await this.#launch();
        this.#restarts += 1;
        return sidecar;
      } catch (error) {
        last = String(error);
      }
    }
  }

  #closeCircuitLater(): void {
    setTimeout(() => {
      if (this.#closing.signal.aborted) return;
      this.#failures = [];
      this.#current = this.#restart('');
      this.#current.catch(() => undefined); // reported to whoever asks for the process
    }, openMs).unref();
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
