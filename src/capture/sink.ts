/** A bounded queue between the recorder and the store. Whole trajectories only; every drop is counted by reason. */
import { isApprenticeError } from '../errors.ts';
import type { PreparedTrajectory, Store } from '../store/store.ts';
import type { Reward, Trajectory } from '../trajectory/records.ts';
import type { CaptureCounters, TrajectorySink } from './capture.ts';
import type { FaultCounter } from './faults.ts';
import { estimateBytes } from './size.ts';

export interface SinkOptions {
  /** May still be opening; what comes meanwhile waits. */
  readonly store: Promise<Store>;
  readonly faults: FaultCounter;
  /** Trajectories that may wait. Default: 10 000. */
  readonly maxQueued?: number;
  /** Roughly estimated bytes that may wait. Default: 256 MiB. */
  readonly maxQueuedBytes?: number;
  /** How long to wait before a store that is full for now is tried again, milliseconds. Default: 1000. */
  readonly retryMs?: number;
}

/** Of writing down, in one turn of the host's event loop, what came while the store was opening, milliseconds. */
const sliceMs = 0.5;
/** How long the first of a batch waits for others: a commit costs the same for one as for many. */
const lingerMs = 20;
/** How many are handed over at once. */
const portionLength = 64;
/** Under way at a time: enough for the store's thread to commit many at once and never to wait. */
const maxInFlightBytes = 4 * 1024 * 1024;

type DropReason = 'queue-full' | 'store-failed' | 'invalid' | 'closed';

export class StoreSink implements TrajectorySink {
  readonly #options: Required<SinkOptions>;
  readonly #dropped: Record<string, number> = {};
  /** Open, once it is. */
  #store: Store | undefined;
  /** What came before that, and has not been written down. */
  #fresh: Trajectory[] = [];
  /** Written down; what the store refuses for now comes back here. */
  #prepared: PreparedTrajectory[] = [];
  #rewards: Reward[] = [];
  /** Of all that is not stored yet. */
  #queuedBytes = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  /** Portions and rewards that have been handed over. */
  readonly #underWay = new Set<Promise<void>>();
  #accepted = 0;
  #stored = 0;
  #writing: Promise<void> | undefined;
  #retryAt = 0;
  #flushing = 0;
  /** Ends the wait for company. */
  #enough: (() => void) | undefined;
  /** Ends the wait for room. */
  #roomMade: (() => void) | undefined;
  #closed = false;

  constructor(options: SinkOptions) {
    this.#options = { maxQueued: 10_000, maxQueuedBytes: 256 * 1024 * 1024, retryMs: 1000, ...options };
    options.store.then(
      (store) => {
        this.#store = store;
      },
      () => undefined, // The pump counts what is lost.
    );
  }

  /**
   * Writes the trajectory down at once, in some tens of microseconds: what it is made of has just been read, and as bytes
   * it is nothing that the garbage collector would have to look at while it waits.
   */
  accept(trajectory: Trajectory): void {
    this.#accepted += 1;
    if (this.#closed) {
      this.#drop('closed', 1);
      return;
    }
    const bytes = estimateBytes(trajectory);
    const { maxQueued, maxQueuedBytes } = this.#options;
    if (this.#queued >= maxQueued || this.#queuedBytes + bytes > maxQueuedBytes) {
      this.#drop('queue-full', 1);
      return;
    }
    // Past those that wait from before: under load, all others would wait behind them as objects.
    if (this.#store !== undefined) this.#prepare(this.#store, trajectory);
    else {
      this.#fresh.push(trajectory);
      this.#queuedBytes += bytes;
    }
    this.#kick();
  }

  reward(reward: Reward): void {
    this.#rewards.push(reward);
    this.#kick();
  }

  async flush(options: { readonly timeoutMs?: number } = {}): Promise<{ readonly complete: boolean }> {
    const deadline = Date.now() + (options.timeoutMs ?? 2000);
    this.#flushing += 1;
    this.#enough?.();
    try {
      while (this.#isWaiting() || this.#writing !== undefined || this.#underWay.size > 0) {
        if (this.#isWaiting()) this.#kick();
        const left = deadline - Date.now();
        if (left <= 0) return { complete: false };
        await settledWithin(this.#writing ?? Promise.all(this.#underWay), left);
      }
      return { complete: true };
    } finally {
      this.#flushing -= 1;
    }
  }

  counters(): CaptureCounters {
    return {
      accepted: this.#accepted,
      stored: this.#stored,
      dropped: { ...this.#dropped },
      queued: this.#queued,
      queuedBytes: this.#queuedBytes,
      faults: this.#options.faults.counts(),
    };
  }

  async close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    await this.flush(options);
    this.#closed = true;
  }

  #kick(): void {
    if (this.#fresh.length + this.#prepared.length >= portionLength) this.#enough?.();
    // One pump at a time, and nothing in the caller's turn.
    this.#writing ??= this.#pump().finally(() => {
      this.#writing = undefined;
      if (this.#isWaiting() && !this.#closed) this.#kick();
    });
  }

  get #queued(): number {
    return this.#fresh.length + this.#prepared.length + this.#inFlight;
  }

  #isWaiting(): boolean {
    return this.#fresh.length > 0 || this.#prepared.length > 0 || this.#rewards.length > 0;
  }

  async #pump(): Promise<void> {
    const store = await this.#options.store.catch(() => undefined);
    while (this.#isWaiting()) {
      await this.#company();
      // Without a store, because it could not be opened, everything is counted as lost.
      if (store === undefined) this.#loseAll();
      else await this.#writeSome(store);
    }
  }

  /** As much as one turn of the host's event loop bears. Rewards go along, and may come before a trajectory that has to wait. */
  async #writeSome(store: Store): Promise<void> {
    if (this.#retryAt > Date.now()) await sleep(this.#retryAt - Date.now());
    while (this.#inFlightBytes >= maxInFlightBytes) await this.#room();
    this.#prepareSlice(store);
    if (this.#fresh.length === 0 || this.#prepared.length >= portionLength)
      this.#begin(store, this.#prepared.splice(0, portionLength));
    if (this.#rewards.length > 0) this.#follow(this.#writeRewards(store, this.#rewards.splice(0)));
  }

  #prepareSlice(store: Store): void {
    const end = performance.now() + sliceMs;
    let count = 0;
    for (const trajectory of this.#fresh) {
      this.#queuedBytes -= estimateBytes(trajectory);
      this.#prepare(store, trajectory);
      count += 1;
      if (this.#prepared.length >= portionLength || performance.now() >= end) break;
    }
    this.#fresh.splice(0, count);
  }

  #prepare(store: Store, trajectory: Trajectory): void {
    try {
      const prepared = store.prepare(trajectory);
      this.#prepared.push(prepared);
      this.#queuedBytes += prepared.bytes;
    } catch (error) {
      this.#options.faults.count('writing to the store', error);
      this.#drop(reasonOf(error), 1);
    }
  }

  /** Until a portion is full or has waited long enough, unless somebody waits for the end. */
  #company(): Promise<void> {
    if (this.#flushing > 0 || this.#fresh.length + this.#prepared.length >= portionLength) return nextTurn();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, lingerMs);
      this.#enough = () => {
        clearTimeout(timer);
        this.#enough = undefined;
        // Not in the turn of who hands over the last: that is the host's.
        resolve(nextTurn());
      };
    });
  }

  #begin(store: Store, portion: readonly PreparedTrajectory[]): void {
    if (portion.length === 0) return;
    this.#inFlight += portion.length;
    this.#inFlightBytes += bytesOf(portion);
    this.#follow(this.#append(store, portion));
  }

  #follow(work: Promise<void>): void {
    const settled: Promise<void> = work.finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
  }

  #end(portion: readonly PreparedTrajectory[]): void {
    this.#inFlight -= portion.length;
    this.#inFlightBytes -= bytesOf(portion);
    this.#roomMade?.();
  }

  /** Until something that is under way has ended. */
  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#roomMade = resolve;
    });
  }

  async #append(store: Store, portion: readonly PreparedTrajectory[]): Promise<void> {
    try {
      await store.appendPrepared(portion);
      this.#end(portion);
      this.#stored += portion.length;
      this.#queuedBytes -= bytesOf(portion);
    } catch (error) {
      this.#options.faults.count('writing to the store', error);
      if (isApprenticeError(error) && error.retryable) {
        this.#end(portion);
        this.#prepared.unshift(...portion);
        this.#retryLater();
      } else if (portion.length > 1) {
        // One that does not fit must not take its neighbours with it.
        for (const one of portion) await this.#append(store, [one]);
      } else {
        this.#end(portion);
        this.#queuedBytes -= bytesOf(portion);
        this.#drop(reasonOf(error), portion.length);
      }
    }
  }

  #retryLater(): void {
    this.#retryAt = Date.now() + this.#options.retryMs;
    this.#kick();
  }

  #loseAll(): void {
    const lost = this.#fresh.length + this.#prepared.length;
    this.#fresh = [];
    this.#prepared = [];
    this.#rewards = [];
    this.#queuedBytes = 0;
    if (lost > 0) this.#drop('store-failed', lost);
  }

  async #writeRewards(store: Store, rewards: readonly Reward[]): Promise<void> {
    try {
      await store.reward(rewards);
    } catch (error) {
      this.#options.faults.count('writing to the store', error);
      if (isApprenticeError(error) && error.retryable) {
        this.#rewards.unshift(...rewards);
        this.#retryLater();
      }
    }
  }

  #drop(reason: DropReason, count: number): void {
    const before = this.#dropped[reason] ?? 0;
    this.#dropped[reason] = before + count;
    if (before === 0) {
      process.emitWarning(`apprentice: trajectories are being dropped (${reason}); the host goes on.`, {
        code: 'APPRENTICE_DROPPED',
      });
    }
  }
}

function bytesOf(portion: readonly PreparedTrajectory[]): number {
  return portion.reduce((total, one) => total + one.bytes, 0);
}

function reasonOf(error: unknown): DropReason {
  return isApprenticeError(error) && error.code === 'invalid_record' ? 'invalid' : 'store-failed';
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Keeps the process alive meanwhile: somebody waits, and nothing else may be going on. */
async function settledWithin(work: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
