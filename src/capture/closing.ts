/** When a run is over whose agent was handed over as a function: decides from how the function and its calls ended. */
import type { Trajectory } from '../trajectory/records.ts';
import { describeError } from './outcome.ts';
import type { ActiveRun, RunWatcher } from './run.ts';

export interface ClosingOptions {
  /** How long a run that may go on waits for further calls, milliseconds. */
  readonly graceMs: number;
  /** Takes the work of closing a run that is over. */
  readonly soon: (close: () => void) => void;
}

/** Made once the agent has settled, for a promise in a turn that nobody waits for: nothing is to be decided before. */
export class Closing implements RunWatcher {
  readonly #run: ActiveRun;
  readonly #options: ClosingOptions;
  #outcome: Trajectory['outcome'] = { status: 'finished' };
  #timer: NodeJS.Timeout | undefined;

  constructor(run: ActiveRun, options: ClosingOptions) {
    this.#run = run;
    this.#options = options;
    run.watchedBy(this);
  }

  /** The agent's function has returned without a promise: nothing tells when its work is done. */
  returned(): void {
    this.#closeLater();
  }

  /** The agent's promise was fulfilled, when `last` was its latest call. Most agents have awaited their calls by then. */
  fulfilled(result: unknown, last: ActiveRun['lastCall']): void {
    const run = this.#run;
    if (run.lastCall === last && run.looksComplete && !this.#mayStillStream(result)) this.#close();
    else this.#closeLater();
  }

  failed(error: unknown): void {
    this.#outcome = { status: 'failed', error: describeError(error) };
    this.#close();
  }

  /** A call has ended. */
  idle(): void {
    this.#closeLater();
  }

  /** The run is finished; a timer that is left behind would hold all of it in memory for as long. */
  finished(): void {
    clearTimeout(this.#timer);
  }

  /** What was given back may fail where it is looked at. */
  #mayStillStream(result: unknown): boolean {
    return this.#run.guard('looking at what an agent gave back', () => mayStillStream(result), true);
  }

  #closeLater(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#run.openCalls > 0) return;
    const timer = setTimeout(() => {
      this.#options.soon(() => {
        // Not where another call has come and gone meanwhile.
        if (this.#timer === timer) this.#close();
      });
    }, this.#options.graceMs);
    this.#timer = timer.unref();
  }

  #close(): void {
    if (this.#run.openCalls === 0) this.#run.finish(this.#outcome);
  }
}

const streamKeys = ['fullStream', 'textStream', 'stream', 'body', 'getReader', 'pipe', Symbol.asyncIterator];

/** Whether something that is read later may be in what an agent gave back: in it, or one level down. */
export function mayStillStream(result: unknown): boolean {
  if (typeof result !== 'object' || result === null) return false;
  if (isStream(result)) return true;
  const prototype: unknown = Object.getPrototypeOf(result);
  const isPlain = prototype === Object.prototype || prototype === Array.prototype || prototype === null;
  return isPlain && Object.values(result).some(isStream);
}

function isStream(value: unknown): boolean {
  return typeof value === 'object' && value !== null && streamKeys.some((key) => key in value);
}
