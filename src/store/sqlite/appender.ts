/** The hot path of the store: statements prepared once, and no query builder, which costs more than the insert. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { AppendResult } from '../store.ts';
import { packBody } from './body.ts';
import type { TrajectoryHead } from './encoded.ts';
import { KeyIndex } from './keys.ts';
import { recordAt, type RecordPlace } from './record-bytes.ts';
import { Rests } from './rests.ts';
import { WaitingFeedback } from './waiting-feedback.ts';

export class Appender {
  readonly #file: DatabaseSync;
  readonly #trajectory: StatementSync;
  readonly #body: StatementSync;
  readonly #keys: KeyIndex;
  readonly #feedback: WaitingFeedback;
  readonly #rests = new Rests();

  /** The tables must be up to date. */
  constructor(file: DatabaseSync) {
    this.#file = file;
    this.#trajectory = file.prepare(
      `insert into trajectories (id, project, name, scenario, group_id, policy, step, split, thread_id, message_id,
        parent_id, started_at, ended_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do nothing`,
    );
    this.#body = file.prepare('insert into bodies (sequence, body, numbers) values (?, ?, ?)');
    this.#keys = new KeyIndex(file);
    this.#feedback = new WaitingFeedback(file);
  }

  /** Several batches in one transaction, with a result for each; all or nothing. Synced when it returns. */
  appendAll(batches: readonly (readonly RecordPlace[])[]): AppendResult[] {
    // IMMEDIATE: two processes on one file wait for each other here instead of failing at commit.
    this.#file.exec('begin immediate');
    this.#rests.begin();
    try {
      const waiting = this.#feedback.isAny();
      const results = batches.map((batch) => {
        let stored = 0;
        for (const place of batch) {
          this.#rests.restIfDue();
          const head = this.#insert(place);
          if (head === undefined) continue;
          stored += 1;
          if (waiting) this.#feedback.attach(head);
        }
        return { stored, duplicates: batch.length - stored };
      });
      this.#file.exec('commit');
      return results;
    } catch (error) {
      // A full disk makes SQLite roll back by itself; a second time would be an error that hides the first.
      if (this.#file.isTransaction) this.#file.exec('rollback');
      throw error;
    }
  }

  /** Work that can wait until what was appended has been answered for. */
  tidy(): void {
    this.#keys.tidy();
  }

  /** Its head, where it was new. */
  #insert(place: RecordPlace): TrajectoryHead | undefined {
    const { numbers, head: json, body } = recordAt(place);
    const head = JSON.parse(json.toString()) as TrajectoryHead;
    const { changes, lastInsertRowid } = this.#trajectory.run(...head.columns);
    if (changes === 0) return undefined;
    this.#body.run(lastInsertRowid, packBody(body), numbers);
    this.#keys.add(head.lookups, lastInsertRowid);
    return head;
  }
}
