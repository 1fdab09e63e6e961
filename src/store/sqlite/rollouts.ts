/** The ledger of rollouts: which tasks of a run are done. */
import type { Kysely } from 'kysely';
import type { RolloutRecord } from '../store.ts';
import type { Tables } from './migrations.ts';

export async function insertRollouts(db: Kysely<Tables>, records: readonly RolloutRecord[]): Promise<void> {
  for (const { runId, taskId, trajectoryId, tries, failure, tokens, usd, finishedAt } of records) {
    await db
      .insertInto('rollouts')
      .values({
        run_id: runId,
        task_id: taskId,
        trajectory_id: trajectoryId,
        tries,
        failure,
        tokens,
        usd,
        finished_at: finishedAt,
      })
      .onConflict((conflict) => conflict.columns(['run_id', 'task_id']).doNothing())
      .execute();
  }
}

export async function selectRollouts(db: Kysely<Tables>, runId: string): Promise<RolloutRecord[]> {
  const rows = await db.selectFrom('rollouts').selectAll().where('run_id', '=', runId).execute();
  return rows.map((row) => ({
    runId,
    taskId: row.task_id,
    trajectoryId: row.trajectory_id,
    tries: row.tries,
    failure: row.failure,
    tokens: row.tokens,
    usd: row.usd,
    finishedAt: row.finished_at,
  }));
}

export async function forgetRollouts(db: Kysely<Tables>, runId: string): Promise<void> {
  await db.deleteFrom('rollouts').where('run_id', '=', runId).execute();
}
