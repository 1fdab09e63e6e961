/**
 * What a run of rollouts has done, kept in the store so that a restart goes on where it was killed: a rollout counts once
 * its trajectory, its rewards and its line in the ledger are on disk, in this order.
 */
import type { TrajectorySink } from '../../capture/capture.ts';
import { StoreError } from '../../errors.ts';
import type { Term } from '../../rewards/score.ts';
import type { RolloutRecord, Store } from '../../store/store.ts';
import type { Reward } from '../../trajectory/records.ts';
import { componentsOf } from '../reward-records.ts';
import type { UnscoredRollout } from './rollout.ts';

export interface LedgerOptions {
  readonly runId: string;
  readonly store: Store;
  readonly sink: TrajectorySink;
}

interface Entry {
  readonly rewards: readonly Reward[];
  readonly record?: RolloutRecord;
}

export class RolloutLedger {
  readonly runId: string;
  readonly #options: LedgerOptions;
  #waiting: Entry[] = [];
  #writing: Promise<void> | undefined;
  #failure: Error | undefined;

  constructor(options: LedgerOptions) {
    this.runId = options.runId;
    this.#options = options;
  }

  /** By task id, what an earlier run has done. */
  async resume(terms: readonly Term[]): Promise<Map<string, { record: RolloutRecord; found: Found }>> {
    const done = new Map<string, { record: RolloutRecord; found: Found }>();
    const { store } = this.#options;
    for (const record of await store.rollouts(this.runId)) {
      const scored = await store.get(record.trajectoryId);
      // A trajectory that was deleted meanwhile is no reason to fail: its task is done again.
      if (scored === undefined) continue;
      const { trajectory, rewards } = scored;
      const components = componentsOf(rewards, terms);
      const failure = record.failure ?? undefined;
      const partial = failure === undefined ? { components } : { components, failure };
      done.set(record.taskId, { record, found: { trajectory, partial } });
    }
    return done;
  }

  /** Writes behind; `drain` waits for it and tells of failures. */
  add(entry: Entry): void {
    this.#waiting.push(entry);
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Throws StoreError where something could not be written: no need to go on then. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** All that was added is on disk once this resolves. Throws StoreError. */
  async drain(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    this.check();
  }

  async #write(): Promise<void> {
    const { store, sink } = this.#options;
    try {
      while (this.#waiting.length > 0) {
        const entries = this.#waiting.splice(0);
        const { complete } = await sink.flush({ timeoutMs: 60_000 });
        if (!complete) {
          throw new StoreError('The rollouts could not be written within a minute.', {
            fix: 'Check the disk of the store: free space and speed.',
            retryable: true,
          });
        }
        await store.reward(entries.flatMap((entry) => entry.rewards));
        await store.recordRollouts(
          entries.flatMap((entry) => (entry.record === undefined ? [] : [entry.record])),
        );
      }
    } catch (error) {
      this.#failure ??= error as Error;
    }
  }
}

type Found = Pick<UnscoredRollout, 'trajectory' | 'partial'>;
