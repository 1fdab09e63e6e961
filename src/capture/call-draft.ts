import type { CallOutcome } from '../trajectory/records.ts';
import type { CallAnswer, CallStart, OpenCall } from './capture.ts';
import { inSideCalls } from './scope.ts';

/** What a call needs of its run. */
export interface DraftRun {
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

/** A call on its way into the record. */
export class CallDraft implements OpenCall {
  readonly start: CallStart;
  readonly startedAt: number;
  readonly sideCall = inSideCalls();
  firstTokenAt: number | undefined;
  endedAt: number | undefined;
  outcome: CallOutcome | undefined;
  readonly #place: number;
  readonly #run: DraftRun;
  #read = readNothing;
  #known: CallAnswer | undefined;

  /** `place`: how many drafts the run had before. */
  constructor(place: number, start: CallStart, run: DraftRun) {
    this.start = start;
    this.startedAt = run.now();
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

  firstToken(): void {
    this.firstTokenAt ??= this.#run.now();
  }

  partial(read: () => CallAnswer): void {
    if (this.outcome === undefined) this.#read = read;
  }

  end(outcome: CallOutcome, read = readNothing): void {
    if (this.outcome !== undefined) return;
    this.#read = read;
    this.outcome = outcome;
    this.endedAt = this.#run.now();
    this.#run.callEnded();
  }
}
