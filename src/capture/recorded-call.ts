/** One request to a model on its way into the record, whoever answers it; what all adapters do alike. */
import type { Endpoint, ServedIdentity } from '../backends/backend.ts';
import type { CallOutcome } from '../trajectory/records.ts';
import type { CallAnswer, CallStart, OpenCall } from './capture.ts';
import { noteFailure, retryOf, type Attempts } from './retries.ts';
import type { PolicyRoute } from './route.ts';
import { inSideCalls } from './scope.ts';

/** What a call needs of its run. */
export interface CallingRun extends Attempts {
  readonly id: string;
  /** The time, milliseconds since the epoch. */
  now(): number;
  /** One of its calls has ended. */
  callEnded(): void;
  /** Runs a part of the recording that may fail; a throw is counted and gives `otherwise`. */
  guard<T>(place: string, work: () => T, otherwise: T): T;
}

const nothingKnown: CallAnswer = {};
const readNothing = (): CallAnswer => nothingKnown;

/** On record from its construction; its end counts once. */
export class RecordedCall implements OpenCall {
  readonly start: CallStart;
  readonly startedAt: number;
  readonly sideCall = inSideCalls();
  /** The failed call of the same run that this one tries again. */
  readonly retryOf: string | undefined;
  /** What serves the policy, once that is known. */
  identity: ServedIdentity | undefined;
  firstTokenAt: number | undefined;
  endedAt: number | undefined;
  outcome: CallOutcome | undefined;
  readonly #place: number;
  readonly #run: CallingRun;
  #read = readNothing;
  #known: CallAnswer | undefined;

  /** `place`: how many drafts the run had before. */
  constructor(place: number, start: CallStart, run: CallingRun) {
    this.start = start;
    this.startedAt = run.now();
    this.retryOf = retryOf(run, start.prompt);
    this.#place = place;
    this.#run = run;
  }

  /** Made of the run's id: unique, cheaper than a random one, and feedback on a call finds its trajectory by it. */
  get id(): string {
    return `${this.#run.id}.${String(this.#place)}`;
  }

  /** The answer, read once the call has ended; before, as far as it has come. */
  get known(): CallAnswer {
    if (this.#known !== undefined) return this.#known;
    const known = this.#run.guard('reading an answer', this.#read, nothingKnown);
    if (this.outcome !== undefined) this.#known = known;
    return known;
  }

  /**
   * Where the policy is served now. What serves it is part of what makes the tokens meaningful later. Rejects with
   * BackendUnavailableError, or the AbortSignal's reason.
   */
  async connect(route: PolicyRoute, signal: AbortSignal | undefined): Promise<Endpoint> {
    const endpoint = await route.endpoint(signal);
    this.identity = endpoint.identity;
    return endpoint;
  }

  firstToken(): void {
    this.firstTokenAt ??= this.#run.now();
  }

  partial(read: () => CallAnswer): void {
    if (this.outcome === undefined) this.#read = read;
  }

  end(outcome: CallOutcome, read = readNothing): void {
    if (this.outcome !== undefined) return;
    const run = this.#run;
    this.#read = read;
    this.outcome = outcome;
    this.endedAt = run.now();
    if (outcome.status === 'error') noteFailure(run, this.start.prompt, this.id);
    run.callEnded();
  }
}
