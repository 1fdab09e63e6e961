/** A bounded queue between the recorder and the store. Whole trajectories only; every drop is counted by reason. */
import type { Store } from '../store/store.ts';
import type { Reward, Trajectory } from '../trajectory/records.ts';
import type { CaptureCounters, TrajectorySink } from './capture.ts';
import type { FaultCounter } from './faults.ts';

export interface SinkOptions {
  /** May still be opening; what comes meanwhile waits. */
  readonly store: Promise<Store>;
  readonly faults: FaultCounter;
  /** Trajectories that may wait. Default: 10 000. */
  readonly maxQueued?: number;
  /** Roughly estimated bytes that may wait. Default: 256 MiB. */
  readonly maxQueuedBytes?: number;
  /** Trajectories handed to the store at a time. Default: 256. */
  readonly batchSize?: number;
}

type DropReason = 'queue-full' | 'store-failed' | 'closed';

export class StoreSink implements TrajectorySink {
  readonly #options: Required<SinkOptions>;
  readonly #dropped: Record<string, number> = {};
  #queue: { trajectory: Trajectory; bytes: number }[] = [];
  #rewards: Reward[] = [];
  #queuedBytes = 0;
  #inFlight = 0;
  #accepted = 0;
  #stored = 0;
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(options: SinkOptions) {
    this.#options = { maxQueued: 10_000, maxQueuedBytes: 256 * 1024 * 1024, batchSize: 256, ...options };
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
    this.#queue.push({ trajectory, bytes });
    this.#queuedBytes += bytes;
    this.#kick();
  }

  reward(reward: Reward): void {
    this.#rewards.push(reward);
    this.#kick();
  }

  async flush(options: { readonly timeoutMs?: number } = {}): Promise<{ readonly complete: boolean }> {
    const deadline = Date.now() + (options.timeoutMs ?? 2000);
    while (this.#queue.length > 0 || this.#rewards.length > 0 || this.#writing !== undefined) {
      this.#kick();
      const left = deadline - Date.now();
      if (left <= 0) return { complete: false };
      await Promise.race([this.#writing, sleep(left)]);
    }
    return { complete: true };
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
    // One write at a time, and none in the caller's turn: a burst becomes a few large batches.
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
      if (this.#queue.length > 0 || this.#rewards.length > 0) this.#kick();
    });
  }

  async #writeAll(): Promise<void> {
    await nextTurn();
    while (this.#queue.length > 0 || this.#rewards.length > 0) {
      const batch = this.#queue.splice(0, this.#options.batchSize);
      const rewards = this.#rewards.splice(0);
      const bytes = batch.reduce((sum, one) => sum + one.bytes, 0);
      this.#inFlight = batch.length;
      try {
        const store = await this.#options.store;
        if (batch.length > 0) await store.append(batch.map((one) => one.trajectory));
        if (rewards.length > 0) await store.reward(rewards);
        this.#stored += batch.length;
      } catch (error) {
        this.#options.faults.count('writing to the store', error);
        if (batch.length > 0) this.#drop('store-failed', batch.length);
      } finally {
        this.#inFlight = 0;
        this.#queuedBytes -= bytes;
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

/** A cheap guess: token arrays by their length, everything else by a flat price for each event. */
function estimateBytes(trajectory: Trajectory): number {
  let bytes = 512;
  for (const event of trajectory.events) {
    bytes += 2048;
    if (event.kind === 'model-call' && event.tokens !== null) {
      bytes += 8 * event.tokens.promptIds.length + 24 * event.tokens.completionIds.length;
    }
  }
  return bytes;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
