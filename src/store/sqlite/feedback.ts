/** Feedback and the trajectories that it is about, inside the caller's transaction. See waiting-feedback.ts, too. */
import type { Kysely } from 'kysely';
import { parseFeedback } from '../../trajectory/parse.ts';
import type { FeedbackReceipt, FeedbackRecord, NewFeedback } from '../../trajectory/feedback.ts';
import { lookupsOfTarget } from '../attribution.ts';
import { withLookup } from './lookups.ts';
import type { Tables } from './migrations.ts';

type Database = Kysely<Tables>;

/** Adds one revision, or finds that it is there already, and attaches the piece anew. */
export async function addFeedback(db: Database, given: NewFeedback): Promise<FeedbackReceipt> {
  const entry = parseFeedback(given);
  const current = await db.selectFrom('feedback').selectAll().where('id', '=', entry.id).executeTakeFirst();
  if (current === undefined) {
    await write(db, { ...entry, revision: 1 });
    return receipt(db, entry.id, 'new', 1);
  }
  const before = JSON.parse(current.body) as FeedbackRecord;
  if (sameContent(before, entry)) return receipt(db, entry.id, 'duplicate', before.revision);
  const last = await db
    .selectFrom('feedback_log')
    .select((eb) => eb.fn.max('revision').as('revision'))
    .where('id', '=', entry.id)
    .executeTakeFirstOrThrow();
  const revision = { ...entry, revision: last.revision + 1 };
  // A revision that was given earlier and comes in later is history from the start.
  if (entry.at < before.at) {
    if (!(await isInLog(db, entry))) await log(db, revision);
    return receipt(db, entry.id, 'outdated', before.revision);
  }
  await write(db, revision);
  return receipt(db, entry.id, 'revised', revision.revision);
}

/** What is said of a trajectory, withdrawn pieces left out. */
export async function feedbackOn(db: Database, trajectoryId: string): Promise<FeedbackRecord[]> {
  const rows = await db
    .selectFrom('feedback_trajectories as attached')
    .innerJoin('feedback', 'feedback.id', 'attached.feedback_id')
    .select('feedback.body')
    .where('attached.trajectory_id', '=', trajectoryId)
    .where('feedback.withdrawn', '=', 0)
    .execute();
  return rows.map((row) => JSON.parse(row.body) as FeedbackRecord).sort((a, b) => a.at - b.at);
}

export async function feedbackHistory(db: Database, id: string): Promise<FeedbackRecord[]> {
  const rows = await db
    .selectFrom('feedback_log')
    .select('body')
    .where('id', '=', id)
    .orderBy('revision')
    .execute();
  return rows.map((row) => JSON.parse(row.body) as FeedbackRecord);
}

async function write(db: Database, record: FeedbackRecord): Promise<void> {
  const values = {
    project: record.project,
    lookup: lookupsOfTarget(record.target)[0] ?? '',
    revision: record.revision,
    value: record.value,
    withdrawn: record.kind === 'withdrawn' ? 1 : 0,
    body: JSON.stringify(record),
  };
  await log(db, record);
  await db
    .insertInto('feedback')
    .values({ id: record.id, ...values })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(values))
    .execute();
  await attach(db, record);
}

async function log(db: Database, record: FeedbackRecord): Promise<void> {
  const { id, revision } = record;
  await db
    .insertInto('feedback_log')
    .values({ id, revision, body: JSON.stringify(record) })
    .execute();
}

/** Puts the piece on exactly the trajectories that are here and that it is about. */
async function attach(db: Database, piece: FeedbackRecord): Promise<void> {
  const { at, windowMs, applies } = piece;
  const found = await db
    .selectFrom('trajectories')
    .select('id')
    .where('project', '=', piece.project)
    .where((eb) => eb.and(lookupsOfTarget(piece.target).map((one) => withLookup(eb, one))))
    .where((eb) => eb(eb.fn.coalesce('started_at', 'ended_at'), '<=', at))
    .$if(windowMs !== null, (query) => query.where('ended_at', '>=', at - (windowMs ?? 0)))
    .orderBy('ended_at', 'desc')
    .$if(applies === 'latest', (query) => query.limit(1))
    .execute();
  await db.deleteFrom('feedback_trajectories').where('feedback_id', '=', piece.id).execute();
  for (const { id } of found) {
    await db
      .insertInto('feedback_trajectories')
      .values({ trajectory_id: id, feedback_id: piece.id })
      .execute();
  }
}

async function receipt(
  db: Database,
  id: string,
  outcome: FeedbackReceipt['outcome'],
  revision: number,
): Promise<FeedbackReceipt> {
  const rows = await db
    .selectFrom('feedback_trajectories')
    .select('trajectory_id')
    .where('feedback_id', '=', id)
    .execute();
  return { id, outcome, revision, trajectoryIds: rows.map((row) => row.trajectory_id) };
}

async function isInLog(db: Database, entry: NewFeedback): Promise<boolean> {
  const history = await feedbackHistory(db, entry.id);
  return history.some((one) => one.at === entry.at && sameContent(one, entry));
}

/** Whether they say the same, whenever it was said. */
function sameContent(before: FeedbackRecord, now: NewFeedback): boolean {
  return (
    before.value === now.value &&
    before.kind === now.kind &&
    before.comment === now.comment &&
    before.correction === now.correction
  );
}
