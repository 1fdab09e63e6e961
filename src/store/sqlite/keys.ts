/**
 * What finds a trajectory by names that others gave: of responses, messages, threads, runs, business keys.
 *
 * Such names are random, and an index of random keys has each new one on a page of its own: a commit would write more of
 * the index than of the trajectories, and the more, the larger the store. So the index is a log and a tree (as in a
 * log-structured merge-tree, O'Neil et al. 1996): new keys are added at the end of a table that is searched from end to
 * end, and go into the tree in the order of their keys once they are many.
 */
import { hash } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';

/** Keys from which on they go into the tree: to search so many takes a millisecond or two. */
const manyKeys = 32_768;
/** Of a large store more wait, as each page of the tree is written again then: a key for so many trajectories. */
const trajectoriesPerKey = 8;

/**
 * The key of `kind:value`: the first 48 bits of a SHA-256, short enough to index, and exact as a number. Names of
 * responses are without their kind in it, as in stores from before there were kinds.
 */
export function keyOf(lookup: string): number {
  const response = 'response:';
  const named = lookup.startsWith(response) ? lookup.slice(response.length) : lookup;
  return hash('sha256', named, 'buffer').readUIntBE(0, 6);
}

/** Synchronous, as the hot path is. */
export class KeyIndex {
  readonly #file: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #count: StatementSync;
  readonly #many: number;
  /** In the log, and the last trajectory's sequence number; another process may have changed both. */
  #recent = 0;
  #last = 0;

  /** The tables must be up to date. `many`: keys from which on the log of a small store is moved; default: 32 768. */
  constructor(file: DatabaseSync, many = manyKeys) {
    this.#file = file;
    this.#many = many;
    this.#insert = file.prepare('insert into recent_keys (key, sequence) values (?, ?)');
    this.#count = file.prepare('select count(*) as count from recent_keys');
    this.#recent = this.#counted();
  }

  /** Inside the caller's transaction. */
  add(lookups: readonly string[], sequence: number | bigint): void {
    for (const lookup of lookups) this.#insert.run(keyOf(lookup), sequence);
    this.#recent += lookups.length;
    this.#last = Number(sequence);
  }

  /**
   * Moves the keys of the log into the tree where they are many, in a transaction of its own. Where that fails, it is tried
   * again once as many more have come: until then searches take longer, and nothing is lost.
   */
  tidy(): void {
    const many = Math.max(this.#many, this.#last / trajectoriesPerKey);
    if (this.#recent < many) return;
    try {
      this.#file.exec('begin immediate');
      if (this.#counted() >= many) {
        this.#file.exec(
          'insert or ignore into keys (key, sequence) select key, sequence from recent_keys order by key;' +
            'delete from recent_keys',
        );
      }
      this.#recent = this.#counted();
      this.#file.exec('commit');
    } catch (error) {
      if (this.#file.isTransaction) this.#file.exec('rollback');
      this.#recent = 0;
      throw error;
    }
  }

  #counted(): number {
    return Number(this.#count.get()?.['count']);
  }
}
