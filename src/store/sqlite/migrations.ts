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
    ended_at: number;
  };
  /** By the sequence number of its trajectory, so that bodies are only ever added at the end. */
  bodies: { sequence: number; body: string | Uint8Array };
  /** By a digest of the response's id (`responseKey`): random texts as keys would double what each commit writes. */
  responses: { response_key: number; sequence: number };
  rewards: {
    id: string;
    trajectory_id: string;
    name: string;
    value: number;
    created_at: number;
    body: string;
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
  step_trajectories: { trajectory_id: string; project: string; name: string; step: number; position: number };
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

/** All migrations, in the order of their names. */
export const migrations: MigrationProvider = {
  getMigrations: () => Promise.resolve({ '0001-first': first }),
};
