/** A bounded queue between the recorder and the store. Whole trajectories only; every drop is counted by reason. */
import { isApprenticeError } from '../errors.ts';
import type { Store } from '../store/store.ts';
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

/** Handing over holds the host up by a few microseconds for each KB, so it is done in small portions. */
const portionBytes = 48 * 1024;
/** How long the first of a batch waits for others: a commit costs the same for one as for many. */
const lingerMs = 20;
/** Portions under way at a time: enough for the store's thread to commit many at once and never to wait. */
const maxInFlightBytes = 4 * 1024 * 1024;

type DropReason = 'queue-full' | 'store-failed' | 'invalid' | 'closed';

export class StoreSink implements TrajectorySink {
  readonly #options: Required<SinkOptions>;
  readonly #dropped: Record<string, number> = {};
  /**
   * What waits, and beside it its sizes. Not pairs of the two: V8 learns that such small objects live long and makes them
   * in the old generation at once, where each, even when nobody has it any more, keeps its trajectory from being
   * collected until the next full collection.
   */
  #queue: Trajectory[] = [];
  #sizes: number[] = [];
  #rewards: Reward[] = [];
  /** Of the queue and of what is under way. */
  #queuedBytes = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  readonly #portions = new Set<Promise<void>>();
  #accepted = 0;
  #stored = 0;
  #writing: Promise<void> | undefined;
  #retryAt = 0;
  #flushing = 0;
  #hurry: (() => void) | undefined;
  #closed = false;

  constructor(options: SinkOptions) {
    this.#options = { maxQueued: 10_000, maxQueuedBytes: 256 * 1024 * 1024, retryMs: 1000, ...options };
  }

  accept(trajectory: Trajectory): void {
    this.#accepted += 1;
    if (this.#closed) {
      this.#drop('closed', 1);
      return;
    }
    const bytes = estimateBytes(trajectory);
    const { maxQueued, maxQueuedBytes } = this.#options;
    if (this.#queue.length + this.#inFlight >= maxQueued || this.#queuedBytes + bytes > maxQueuedBytes) {
      this.#drop('queue-full', 1);
      return;
    }
    this.#queue.push(trajectory);
    this.#sizes.push(bytes);
    this.#queuedBytes += bytes;
    this.#kick();
  }

  reward(reward: Reward): void {
    this.#rewards.push(reward);
    this.#kick();
  }

  async flush(options: { readonly timeoutMs?: number } = {}): Promise<{ readonly complete: boolean }> {
    const deadline = Date.now() + (options.timeoutMs ?? 2000);
    this.#flushing += 1;
    this.#hurry?.();
    try {
      while (this.#isWaiting() || this.#writing !== undefined) {
        this.#kick();
        const left = deadline - Date.now();
        if (left <= 0) return { complete: false };
        await settledWithin(this.#writing, left);
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
      queued: this.#queue.length + this.#inFlight,
      queuedBytes: this.#queuedBytes,
      faults: this.#options.faults.counts(),
    };
  }

  async close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    await this.flush(options);
    this.#closed = true;
  }

  #kick(): void {
    // One pump at a time, and nothing in the caller's turn.
    this.#writing ??= this.#pump().finally(() => {
      this.#writing = undefined;
      if (this.#isWaiting() && !this.#closed) this.#kick();
    });
  }

  #isWaiting(): boolean {
    return this.#queue.length > 0 || this.#rewards.length > 0;
  }

  async #pump(): Promise<void> {
    const store = await this.#options.store.catch(() => undefined);
    await this.#linger();
    while (this.#isWaiting()) {
      if (this.#retryAt > Date.now()) await sleep(this.#retryAt - Date.now());
      while (this.#inFlightBytes >= maxInFlightBytes) await Promise.race(this.#portions);
      const count = this.#portionLength();
      const portion = this.#queue.splice(0, count);
      const sizes = this.#sizes.splice(0, count);
      this.#begin(sizes, async () => {
        // Without a store, because it could not be opened, everything is counted as lost.
        if (store === undefined) this.#lose(sizes, 'store-failed');
        else await this.#append(store, portion, sizes);
      });
      await nextTurn();
      if (this.#queue.length > 0) continue;
      // Rewards come after the trajectories that they are about.
      await Promise.all(this.#portions);
      if (this.#queue.length === 0) await this.#writeRewards(store);
    }
  }

  /** Waits for company, unless somebody waits for the end. */
  #linger(): Promise<void> {
    if (this.#flushing > 0) return nextTurn();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, lingerMs);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** How many of those that wait are handed over next. */
  #portionLength(): number {
    let bytes = 0;
    let count = 0;
    for (const size of this.#sizes) {
      if (count > 0 && bytes + size > portionBytes) break;
      bytes += size;
      count += 1;
    }
    return count;
  }

  /** Keeps count of what is under way; `work` calls `#end` for each trajectory as its fate is known. */
  #begin(sizes: readonly number[], work: () => Promise<void>): void {
    this.#inFlight += sizes.length;
    this.#inFlightBytes += sum(sizes);
    const settled: Promise<void> = work().finally(() => this.#portions.delete(settled));
    this.#portions.add(settled);
  }

  #end(sizes: readonly number[]): void {
    this.#inFlight -= sizes.length;
    this.#inFlightBytes -= sum(sizes);
  }

  async #append(store: Store, portion: readonly Trajectory[], sizes: readonly number[]): Promise<void> {
    if (portion.length === 0) return;
    try {
      await store.append(portion);
      this.#end(sizes);
      this.#stored += portion.length;
      this.#queuedBytes -= sum(sizes);
    } catch (error) {
      this.#options.faults.count('writing to the store', error);
      if (isApprenticeError(error) && error.retryable) {
        this.#end(sizes);
        this.#queue.unshift(...portion);
        this.#sizes.unshift(...sizes);
        this.#retryAt = Date.now() + this.#options.retryMs;
      } else if (portion.length > 1) {
        // One that does not fit must not take its neighbours with it.
        for (const [at, one] of portion.entries()) await this.#append(store, [one], sizes.slice(at, at + 1));
      } else {
        const invalid = isApprenticeError(error) && error.code === 'invalid_record';
        this.#lose(sizes, invalid ? 'invalid' : 'store-failed');
      }
    }
  }

  #lose(sizes: readonly number[], reason: DropReason): void {
    this.#end(sizes);
    this.#queuedBytes -= sum(sizes);
    if (sizes.length > 0) this.#drop(reason, sizes.length);
  }

  async #writeRewards(store: Store | undefined): Promise<void> {
    const rewards = this.#rewards.splice(0);
    if (rewards.length === 0 || store === undefined) return;
    try {
      await store.reward(rewards);
    } catch (error) {
      this.#options.faults.count('writing to the store', error);
      if (isApprenticeError(error) && error.retryable) {
        this.#rewards.unshift(...rewards);
        this.#retryAt = Date.now() + this.#options.retryMs;
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

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, one) => total + one, 0);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Keeps the process alive meanwhile: somebody waits, and nothing else may be going on. */
async function settledWithin(work: Promise<void> | undefined, milliseconds: number): Promise<void> {
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
