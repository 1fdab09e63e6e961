/** The store's work on an open database: runs in the worker thread. */
import { DatabaseSync } from 'node:sqlite';
import { Kysely, sql, type ExpressionBuilder, type Expression, type SqlBool } from 'kysely';
import { Migrator } from 'kysely/migration';
import { parseReward, parseVersioned } from '../../trajectory/parse.ts';
import type { FeedbackReceipt, FeedbackRecord, NewFeedback } from '../../trajectory/feedback.ts';
import type { Group, Reward, ScoredTrajectory, Trajectory } from '../../trajectory/records.ts';
import { lookupsOfTarget, namesOf } from '../attribution.ts';
import { fromStored } from '../encoding/from-stored.ts';
import { storedTrajectory } from '../encoding/stored.ts';
import type {
  AppendResult,
  Judgement,
  RolloutRecord,
  Store,
  StoreStats,
  TrainingStepRecord,
  TrajectoryQuery,
} from '../store.ts';
import { Appender } from './appender.ts';
import { unpackBody } from './body.ts';
import { nodeSqliteDialect } from './dialect.ts';
import { addFeedback, feedbackHistory, feedbackOn } from './feedback.ts';
import { keyOf } from './keys.ts';
import { withLookup } from './lookups.ts';
import { migrations, type Tables } from './migrations.ts';
import type { RecordPlace } from './record-bytes.ts';
import { forgetRollouts, insertRollouts, selectRollouts } from './rollouts.ts';

/** Opens the file, sets its durability and brings its tables up to date. */
export async function openDatabase(path: string): Promise<SqliteDatabase> {
  const file = new DatabaseSync(path);
  file.exec(
    // Pages of 8 KB hold most bodies with fewer overflow pages; only a new file takes the size.
    'pragma page_size = 8192; pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 10000;' +
      'pragma wal_autocheckpoint = 4000;',
  );
  const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(file) });
  file.function('key_of', { deterministic: true }, (lookup) => keyOf(String(lookup)));
  const { error } = await new Migrator({ db, provider: migrations }).migrateToLatest();
  if (error !== undefined)
    throw error instanceof Error ? error : new Error('The migration failed.', { cause: error });
  return new SqliteDatabase({ db, path, appender: new Appender(file) });
}

export class SqliteDatabase implements Omit<Store, 'append' | 'prepare' | 'appendPrepared'> {
  readonly location: string;
  readonly #db: Kysely<Tables>;
  readonly #appender: Appender;

  constructor(options: { readonly db: Kysely<Tables>; readonly path: string; readonly appender: Appender }) {
    this.#db = options.db;
    this.#appender = options.appender;
    this.location = options.path;
  }

  append(trajectories: readonly RecordPlace[]): AppendResult {
    const [result] = this.appendAll([trajectories]);
    return result ?? { stored: 0, duplicates: 0 };
  }

  /** Several batches in one transaction, with a result for each; all or nothing. */
  appendAll(batches: readonly (readonly RecordPlace[])[]): readonly AppendResult[] {
    return this.#appender.appendAll(batches);
  }

  /** See `Appender.tidy`. */
  tidy(): void {
    this.#appender.tidy();
  }

  async reward(rewards: readonly Reward[]): Promise<void> {
    const rows = rewards.map((reward) => {
      const { id, trajectoryId, name, value, createdAt } = parseReward(reward);
      return {
        id,
        trajectory_id: trajectoryId,
        name,
        value,
        created_at: createdAt,
        body: JSON.stringify(reward),
      };
    });
    await this.#db.transaction().execute(async (tx) => {
      for (const row of rows) {
        await tx
          .insertInto('rewards')
          .values(row)
          .onConflict((c) => c.column('id').doNothing())
          .execute();
      }
    });
  }

  feedback(entries: readonly NewFeedback[]): Promise<readonly FeedbackReceipt[]> {
    return this.#db.transaction().execute(async (tx) => {
      const receipts: FeedbackReceipt[] = [];
      for (const entry of entries) receipts.push(await addFeedback(tx, entry));
      return receipts;
    });
  }

  feedbackHistory(id: string): Promise<readonly FeedbackRecord[]> {
    return feedbackHistory(this.#db, id);
  }

  recordRollouts(records: readonly RolloutRecord[]): Promise<void> {
    return this.#db.transaction().execute((tx) => insertRollouts(tx, records));
  }

  rollouts(runId: string): Promise<readonly RolloutRecord[]> {
    return selectRollouts(this.#db, runId);
  }

  forgetRollouts(runId: string): Promise<void> {
    return forgetRollouts(this.#db, runId);
  }

  async get(id: string): Promise<ScoredTrajectory | undefined> {
    const [found] = await this.#load([id]);
    return found;
  }

  async find(query: TrajectoryQuery): Promise<readonly ScoredTrajectory[]> {
    const rows = await this.#matching(query).select('id').execute();
    const found = await this.#load(rows.map((row) => row.id));
    // Two names may have the same key.
    const names = lookupsOfTarget(namedBy(query));
    return found.filter(({ trajectory }) => hasAll(trajectory, names));
  }

  async count(query: TrajectoryQuery): Promise<number> {
    const { after: _, ...filter } = query;
    const row = await this.#db
      .selectFrom('trajectories')
      .where((eb) => eb.and(conditions(eb, filter)))
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .executeTakeFirst();
    return row?.n ?? 0;
  }

  async groups(query: TrajectoryQuery): Promise<readonly Group[]> {
    const found = await this.find({ order: 'newest-first', ...query });
    const grouped = Map.groupBy(found, ({ trajectory }) => trajectory.groupId ?? trajectory.id);
    return [...grouped].map(([groupId, members]) => ({
      groupId,
      scenario: members[0]?.trajectory.scenario ?? null,
      trajectories: members,
    }));
  }

  async beginStep(step: Parameters<Store['beginStep']>[0]): Promise<void> {
    const { project, name } = step;
    await this.#db.transaction().execute(async (tx) => {
      await tx
        .deleteFrom('step_trajectories')
        .where((eb) => eb.and({ project, name, step: step.step }))
        .execute();
      await tx
        .insertInto('steps')
        .values({
          project,
          name,
          step: step.step,
          job_id: step.jobId,
          state: 'training',
          adapter_location: null,
          metrics: '{}',
          created_at: step.createdAt,
        })
        // A failed step may be tried again; a published one is final.
        .onConflict((conflict) =>
          conflict
            .columns(['project', 'name', 'step'])
            .doUpdateSet({ job_id: step.jobId, state: 'training', created_at: step.createdAt })
            .where('steps.state', '!=', 'published'),
        )
        .execute();
      for (const [position, trajectory_id] of step.trajectoryIds.entries()) {
        await tx
          .insertInto('step_trajectories')
          .values({
            trajectory_id,
            project,
            name,
            step: step.step,
            position,
            group_id: step.judgements?.[trajectory_id]?.groupId ?? null,
            total: step.judgements?.[trajectory_id]?.total ?? null,
          })
          .execute();
      }
    });
  }

  async endStep(options: Parameters<Store['endStep']>[0]): Promise<void> {
    const { project, name, step, state, adapterLocation, metrics } = options;
    await this.#db.transaction().execute(async (tx) => {
      await tx
        .updateTable('steps')
        .set({ state, adapter_location: adapterLocation, metrics: JSON.stringify(metrics) })
        .where((eb) => eb.and({ project, name, step }))
        .execute();
      if (state === 'failed') {
        await tx
          .deleteFrom('step_trajectories')
          .where((eb) => eb.and({ project, name, step }))
          .execute();
      }
    });
  }

  async steps(project: string, name: string): Promise<readonly TrainingStepRecord[]> {
    const rows = await this.#db
      .selectFrom('steps')
      .selectAll()
      .where((eb) => eb.and({ project, name }))
      .orderBy('step')
      .execute();
    const members = await this.#db
      .selectFrom('step_trajectories')
      .select(['trajectory_id', 'step', 'group_id', 'total'])
      .where((eb) => eb.and({ project, name }))
      .orderBy('position')
      .execute();
    return rows.map((row) => ({
      project,
      name,
      step: row.step,
      jobId: row.job_id,
      state: row.state as TrainingStepRecord['state'],
      ...membersOf(members.filter((member) => member.step === row.step)),
      adapterLocation: row.adapter_location,
      metrics: JSON.parse(row.metrics) as Record<string, number>,
      createdAt: row.created_at,
    }));
  }

  async stats(): Promise<StoreStats> {
    const count = async (table: 'trajectories' | 'rewards'): Promise<number> => {
      const row = await this.#db
        .selectFrom(table)
        .select((eb) => eb.fn.countAll<number>().as('n'))
        .executeTakeFirst();
      return row?.n ?? 0;
    };
    const size = await sql<{ bytes: number }>`
      select page_count * page_size as bytes from pragma_page_count(), pragma_page_size()`.execute(this.#db);
    return {
      trajectories: await count('trajectories'),
      rewards: await count('rewards'),
      bytes: size.rows[0]?.bytes ?? 0,
    };
  }

  async delete(ids: readonly string[]): Promise<number> {
    return this.#db.transaction().execute(async (tx) => {
      const gone: number[] = [];
      for (const id of ids) {
        const row = await tx
          .deleteFrom('trajectories')
          .where('id', '=', id)
          .returning('sequence')
          .executeTakeFirst();
        if (row === undefined) continue;
        gone.push(row.sequence);
        await tx.deleteFrom('bodies').where('sequence', '=', row.sequence).execute();
        await tx.deleteFrom('feedback_trajectories').where('trajectory_id', '=', id).execute();
        await tx.deleteFrom('rewards').where('trajectory_id', '=', id).execute();
      }
      // Once for all: keys are searched from end to end here.
      const sequences = sql<number>`(select value from json_each(${JSON.stringify(gone)}))`;
      await tx.deleteFrom('keys').where('sequence', 'in', sequences).execute();
      await tx.deleteFrom('recent_keys').where('sequence', 'in', sequences).execute();
      return gone.length;
    });
  }

  flush(): Promise<void> {
    // Each write has been committed and synced before its promise resolved.
    return Promise.resolve();
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }

  #matching(query: TrajectoryQuery) {
    const direction = query.order === 'newest-first' ? 'desc' : 'asc';
    return this.#db
      .selectFrom('trajectories')
      .where((eb) => eb.and(conditions(eb, query)))
      .orderBy('sequence', direction)
      .limit(query.limit ?? -1);
  }

  async #load(ids: readonly string[]): Promise<ScoredTrajectory[]> {
    const found: ScoredTrajectory[] = [];
    for (const id of ids) {
      const body = await this.#db
        .selectFrom('bodies')
        .innerJoin('trajectories', 'trajectories.sequence', 'bodies.sequence')
        .select(['body', 'numbers'])
        .where('trajectories.id', '=', id)
        .executeTakeFirst();
      if (body === undefined) continue;
      const rewards = await this.#db
        .selectFrom('rewards')
        .select('body')
        .where('trajectory_id', '=', id)
        .orderBy('created_at')
        .execute();
      found.push({
        trajectory: trajectoryOf(body),
        rewards: rewards.map((row) => parseReward(JSON.parse(row.body))),
        feedback: await feedbackOn(this.#db, id),
      });
    }
    return found;
  }
}

function trajectoryOf({ body, numbers }: Pick<Tables['bodies'], 'body' | 'numbers'>): Trajectory {
  const { json, texts } = unpackBody(body);
  const record = parseVersioned(storedTrajectory, JSON.parse(json));
  return fromStored(record, { numbers: numbers ?? new Uint8Array(), texts });
}

function membersOf(
  rows: readonly Pick<Tables['step_trajectories'], 'trajectory_id' | 'group_id' | 'total'>[],
): Pick<TrainingStepRecord, 'trajectoryIds' | 'judgements'> {
  const trajectoryIds = rows.map((row) => row.trajectory_id);
  const judged = rows.flatMap(({ trajectory_id, group_id, total }): [string, Judgement][] =>
    group_id === null || total === null ? [] : [[trajectory_id, { groupId: group_id, total }]],
  );
  return judged.length === 0 ? { trajectoryIds } : { trajectoryIds, judgements: Object.fromEntries(judged) };
}

/** What of a query finds by names. */
function namedBy({ responseId, messageId, threadId, runId, keys }: TrajectoryQuery) {
  return defined({ responseId, messageId, threadId, runId, keys });
}

function hasAll(trajectory: Trajectory, names: readonly string[]): boolean {
  const own = names.length === 0 ? [] : namesOf(trajectory);
  return names.every((name) => own.includes(name));
}

function conditions(
  eb: ExpressionBuilder<Tables, 'trajectories'>,
  query: TrajectoryQuery,
): Expression<SqlBool>[] {
  const equal = {
    project: query.project,
    name: query.name,
    scenario: query.scenario,
    group_id: query.groupId,
    policy: query.policy,
    step: query.step,
    split: query.split,
    parent_id: query.parentId,
  };
  const wanted: Expression<SqlBool>[] = [];
  for (const [column, value] of Object.entries(equal)) {
    if (value !== undefined) wanted.push(eb(column as keyof typeof equal, '=', value));
  }
  if (query.from !== undefined) wanted.push(eb('ended_at', '>=', query.from));
  if (query.until !== undefined) wanted.push(eb('ended_at', '<', query.until));
  for (const lookup of lookupsOfTarget(namedBy(query))) wanted.push(withLookup(eb, lookup));
  if (query.unscored !== undefined) {
    const rewarded = eb.selectFrom('rewards').select('trajectory_id');
    const rated = eb
      .selectFrom('feedback_trajectories as attached')
      .innerJoin('feedback', 'feedback.id', 'attached.feedback_id')
      .select('attached.trajectory_id')
      .where('feedback.value', 'is not', null);
    const scored = eb.or([eb('id', 'in', rewarded), eb('id', 'in', rated)]);
    wanted.push(query.unscored ? eb.not(scored) : scored);
  }
  if (query.after !== undefined) {
    const last = eb
      .selectFrom('trajectories as last')
      .select('last.sequence')
      .where('last.id', '=', query.after);
    wanted.push(eb('sequence', query.order === 'newest-first' ? '<' : '>', last));
  }
  return wanted;
}

function defined<T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const known = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(known) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
