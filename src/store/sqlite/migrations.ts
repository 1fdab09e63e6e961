import { sql, type Generated, type Kysely } from 'kysely';
import type { Migration, MigrationProvider } from 'kysely/migration';

/** The tables; bodies stand apart from what is searched, so that scans stay small. */
export interface Tables {
  trajectories: {
    sequence: Generated<number>;
    id: string;
    project: string;
    name: string;
    scenario: string | null;
    group_id: string | null;
    policy: string | null;
    step: number | null;
    split: string;
    thread_id: string | null;
    message_id: string | null;
    parent_id: string | null;
    /** null in rows from before feedback had a window: then as `ended_at`. */
    started_at: number | null;
    ended_at: number;
  };
  /** By the sequence number of its trajectory, so that bodies are only ever added at the end. */
  bodies: {
    sequence: number;
    body: string | Uint8Array;
    /** null in rows from before numbers lay apart: theirs are in the body. */
    numbers: Uint8Array | null;
  };
  /** See keys.ts. */
  keys: { key: number; sequence: number };
  recent_keys: { key: number; sequence: number };
  rewards: {
    id: string;
    trajectory_id: string;
    name: string;
    value: number;
    created_at: number;
    body: string;
  };
  /** The current revision of each piece; `lookup` is the most telling part of its target. */
  feedback: {
    id: string;
    project: string;
    lookup: string;
    revision: number;
    value: number | null;
    withdrawn: number;
    body: string;
  };
  feedback_log: { id: string; revision: number; body: string };
  feedback_trajectories: { trajectory_id: string; feedback_id: string };
  rollouts: {
    run_id: string;
    task_id: string;
    trajectory_id: string;
    tries: number;
    failure: string | null;
    tokens: number;
    usd: number;
    finished_at: number;
  };
  steps: {
    project: string;
    name: string;
    step: number;
    job_id: string;
    state: string;
    adapter_location: string | null;
    metrics: string;
    created_at: number;
  };
  step_trajectories: {
    trajectory_id: string;
    project: string;
    name: string;
    step: number;
    position: number;
    /** null, both: as the trajectory's own records say. */
    group_id: string | null;
    total: number | null;
  };
}

const first: Migration = {
  async up(db: Kysely<unknown>) {
    const statements = [
      sql`create table trajectories (
        sequence integer primary key autoincrement, id text not null unique, project text not null, name text not null,
        scenario text, group_id text, policy text, step integer, split text not null, thread_id text, message_id text,
        parent_id text, ended_at real not null)`,
      // Partial: most columns are empty in most rows, and an equality search never looks for null.
      sql`create index trajectories_scenario on trajectories (scenario) where scenario is not null`,
      sql`create index trajectories_group on trajectories (group_id) where group_id is not null`,
      sql`create index trajectories_policy on trajectories (policy, split)`,
      sql`create index trajectories_thread on trajectories (thread_id) where thread_id is not null`,
      sql`create index trajectories_message on trajectories (message_id) where message_id is not null`,
      sql`create index trajectories_time on trajectories (ended_at)`,
      sql`create table bodies (sequence integer primary key, body blob not null)`,
      sql`create table responses (response_key integer not null, sequence integer not null,
        primary key (response_key, sequence)) without rowid`,
      sql`create table rewards (id text primary key, trajectory_id text not null, name text not null,
        value real not null, created_at real not null, body text not null)`,
      sql`create index rewards_trajectory on rewards (trajectory_id)`,
      sql`create table steps (project text not null, name text not null, step integer not null, job_id text not null,
        state text not null, adapter_location text, metrics text not null, created_at real not null,
        primary key (project, name, step))`,
      // The primary key is the promise that no trajectory is trained twice under one name.
      sql`create table step_trajectories (trajectory_id text not null, project text not null, name text not null,
        step integer not null, position integer not null, primary key (project, name, trajectory_id))`,
    ];
    for (const statement of statements) await statement.execute(db);
  },
};

const feedback: Migration = {
  async up(db: Kysely<unknown>) {
    const statements = [
      sql`alter table trajectories add column started_at real`,
      sql`alter table step_trajectories add column group_id text`,
      sql`alter table step_trajectories add column total real`,
      sql`create index trajectories_parent on trajectories (parent_id) where parent_id is not null`,
      sql`create table lookups (lookup text not null, sequence integer not null,
        primary key (lookup, sequence)) without rowid`,
      sql`create table feedback (id text primary key, project text not null, lookup text not null,
        revision integer not null, value real, withdrawn integer not null, body text not null)`,
      sql`create index feedback_lookup on feedback (lookup)`,
      sql`create table feedback_log (id text not null, revision integer not null, body text not null,
        primary key (id, revision))`,
      sql`create table feedback_trajectories (trajectory_id text not null, feedback_id text not null,
        primary key (trajectory_id, feedback_id)) without rowid`,
      sql`create index feedback_trajectories_feedback on feedback_trajectories (feedback_id)`,
      // The primary key is the promise that a task counts once.
      sql`create table rollouts (run_id text not null, task_id text not null, trajectory_id text not null,
        tries integer not null, failure text, tokens integer not null, usd real not null, finished_at real not null,
        primary key (run_id, task_id))`,
    ];
    for (const statement of statements) await statement.execute(db);
  },
};

const numbers: Migration = {
  async up(db: Kysely<unknown>) {
    await sql`alter table bodies add column numbers blob`.execute(db);
  },
};

/** Needs the function `key_of` in SQL: `keyOf`. */
const keys: Migration = {
  async up(db: Kysely<unknown>) {
    const statements = [
      sql`alter table responses rename to keys`,
      sql`alter table keys rename column response_key to key`,
      sql`create table recent_keys (key integer not null, sequence integer not null)`,
      sql`insert or ignore into keys select key_of(lookup), sequence from lookups`,
      sql`insert or ignore into keys
        select key_of('thread:' || thread_id), sequence from trajectories where thread_id is not null`,
      sql`insert or ignore into keys
        select key_of('message:' || message_id), sequence from trajectories where message_id is not null`,
      sql`drop table lookups`,
      sql`drop index trajectories_thread`,
      sql`drop index trajectories_message`,
    ];
    for (const statement of statements) await statement.execute(db);
  },
};

/** Nothing but a mark: versions that do not know it cannot read the bodies that are written from here on, and refuse the file. */
const texts: Migration = {
  up: () => Promise.resolve(),
};

/** All migrations, in the order of their names. */
export const migrations: MigrationProvider = {
  getMigrations: () =>
    Promise.resolve({
      '0001-first': first,
      '0002-feedback': feedback,
      '0003-numbers': numbers,
      '0004-keys': keys,
      '0005-texts': texts,
    }),
};
