/** Feedback that came before its trajectory, attached as that is written. Synchronous, as the hot path is. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { FeedbackRecord } from '../../trajectory/feedback.ts';
import { idLookup, isWithinWindow, lookupsOfTarget } from '../attribution.ts';
import type { TrajectoryHead } from './encoded.ts';

export class WaitingFeedback {
  readonly #any: StatementSync;
  readonly #find: StatementSync;
  readonly #latest: StatementSync;
  readonly #detach: StatementSync;
  readonly #attach: StatementSync;

  constructor(file: DatabaseSync) {
    this.#any = file.prepare('select 1 from feedback limit 1');
    this.#find = file.prepare(
      'select body from feedback where project = ? and lookup in (select value from json_each(?))',
    );
    this.#latest = file.prepare(
      `select max(t.ended_at) as ended_at from feedback_trajectories as f
        join trajectories as t on t.id = f.trajectory_id where f.feedback_id = ?`,
    );
    this.#detach = file.prepare('delete from feedback_trajectories where feedback_id = ?');
    this.#attach = file.prepare(
      'insert or ignore into feedback_trajectories (trajectory_id, feedback_id) values (?, ?)',
    );
  }

  isAny(): boolean {
    return this.#any.get() !== undefined;
  }

  /** Attaches what has waited for this trajectory, which was written a moment ago. */
  attach({ columns, lookups: names }: TrajectoryHead): void {
    // In the order of the insert statement in `appender.ts`.
    const [id, project = null, , , , , , , , , , startedAt, endedAt] = columns;
    const times = { startedAt: Number(startedAt), endedAt: Number(endedAt) };
    const lookups = [idLookup(String(id)), ...names];
    for (const row of this.#find.all(project, JSON.stringify(lookups))) {
      const piece = JSON.parse(String(row['body'])) as FeedbackRecord;
      const fits = lookupsOfTarget(piece.target).every((one) => lookups.includes(one));
      if (!fits || !isWithinWindow(piece, times)) continue;
      if (piece.applies === 'latest') {
        const before = this.#latest.get(piece.id)?.['ended_at'];
        if (typeof before === 'number' && before >= times.endedAt) continue;
        this.#detach.run(piece.id);
      }
      this.#attach.run(String(id), piece.id);
    }
  }
}
