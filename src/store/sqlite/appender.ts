/** The hot path of the store: statements prepared once, and no query builder, which costs more than the insert. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { AppendResult } from '../store.ts';
import { bodyBytes } from './bodies.ts';
import { packBody, type PackedBody } from './body.ts';
import type { SentTrajectory } from './encoded.ts';
import { responseKey } from './response-key.ts';
import { WaitingFeedback } from './waiting-feedback.ts';

export class Appender {
  readonly #file: DatabaseSync;
  readonly #trajectory: StatementSync;
  readonly #bodies: Readonly<Record<PackedBody['form'], StatementSync>>;
  readonly #response: StatementSync;
  readonly #lookup: StatementSync;
  readonly #feedback: WaitingFeedback;

  /** The tables must be up to date. */
  constructor(file: DatabaseSync) {
    this.#file = file;
    this.#trajectory = file.prepare(
      `insert into trajectories (id, project, name, scenario, group_id, policy, step, split, thread_id, message_id,
        parent_id, started_at, ended_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do nothing`,
    );
    this.#bodies = {
      // The bytes as they are: a string of them would be garbage a moment later.
      text: file.prepare('insert into bodies (sequence, body) values (?, cast(? as text))'),
      zlib: file.prepare('insert into bodies (sequence, body) values (?, ?)'),
    };
    this.#response = file.prepare('insert or ignore into responses (response_key, sequence) values (?, ?)');
    this.#lookup = file.prepare('insert or ignore into lookups (lookup, sequence) values (?, ?)');
    this.#feedback = new WaitingFeedback(file);
  }

  /** Several batches in one transaction, with a result for each; all or nothing. Synced when it returns. */
  appendAll(batches: readonly (readonly SentTrajectory[])[]): AppendResult[] {
    // IMMEDIATE: two processes on one file wait for each other here instead of failing at commit.
    this.#file.exec('begin immediate');
    try {
      const waiting = this.#feedback.isAny();
      const results = batches.map((batch) => {
        const stored = batch.filter((one) => this.#insert(one));
        if (waiting) for (const one of stored) this.#feedback.attach(one);
        return { stored: stored.length, duplicates: batch.length - stored.length };
      });
      this.#file.exec('commit');
      return results;
    } catch (error) {
      // A full disk makes SQLite roll back by itself; a second time would be an error that hides the first.
      if (this.#file.isTransaction) this.#file.exec('rollback');
      throw error;
    }
  }

  /** Whether it was new. */
  #insert({ columns, responseIds, lookups, body }: SentTrajectory): boolean {
    const { changes, lastInsertRowid } = this.#trajectory.run(...columns);
    if (changes === 0) return false;
    const { form, bytes } = packBody(bodyBytes(body));
    this.#bodies[form].run(lastInsertRowid, bytes);
    for (const id of responseIds) this.#response.run(responseKey(id), lastInsertRowid);
    for (const one of lookups) this.#lookup.run(one, lastInsertRowid);
    return true;
  }
}
