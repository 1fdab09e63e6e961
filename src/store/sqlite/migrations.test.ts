import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { aCall, aTrajectory, olderJson } from '../../testing/records.ts';
import type { Store } from '../store.ts';
import { nodeSqliteDialect } from './dialect.ts';
import { openSqliteStore } from './index.ts';
import { keyOf } from './keys.ts';
import { migrations } from './migrations.ts';

let folder: string;
let store: Store | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'apprentice-store-'));
});

afterEach(async () => {
  await store?.close();
  await rm(folder, { recursive: true });
});

const call = aCall({ promptIds: [1, 2], completionIds: [3, 4] });
const old = aTrajectory({
  threadId: 'a thread',
  messageId: 'a message',
  runId: 'a run',
  events: [{ ...call, response: { ...call.response, id: 'an answer' } }],
});

/** A store as it was when the numbers lay in the text and names had an index of texts. */
async function makeOldStore(): Promise<void> {
  const file = new DatabaseSync(join(folder, 'apprentice.sqlite'));
  const db = new Kysely<unknown>({ dialect: nodeSqliteDialect(file) });
  const { '0001-first': first, '0002-feedback': feedback } = await migrations.getMigrations();
  if (first === undefined || feedback === undefined) throw new Error('The first migrations are gone.');
  const provider = {
    getMigrations: () => Promise.resolve({ '0001-first': first, '0002-feedback': feedback }),
  };
  const { error } = await new Migrator({ db, provider }).migrateToLatest();
  expect(error).toBeUndefined();
  file
    .prepare(
      `insert into trajectories (id, project, name, split, thread_id, message_id, started_at, ended_at)
        values (?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    .run(old.id, old.project, old.name, old.split, old.threadId, old.messageId, old.startedAt, old.endedAt);
  file.prepare('insert into bodies values (1, ?)').run(olderJson(old));
  file.prepare('insert into responses values (?, 1)').run(keyOf('response:an answer'));
  file.prepare('insert into lookups values (?, 1)').run('run:a run');
  await db.destroy();
}

it.each([
  { threadId: 'a thread' },
  { messageId: 'a message' },
  { runId: 'a run' },
  { responseId: 'an answer' },
  { threadId: 'a thread', messageId: 'a message', responseId: 'an answer' },
])('finds what an older version has stored by %j', async (query) => {
  await makeOldStore();
  store = await openSqliteStore({ folder });
  const found = await store.find(query);
  expect(found.map(({ trajectory }) => trajectory)).toEqual([old]);
  await expect(store.find({ ...query, threadId: 'another thread' })).resolves.toEqual([]);
});

it('adds new records to the older ones', async () => {
  await makeOldStore();
  store = await openSqliteStore({ folder });
  const next = aTrajectory({ threadId: 'a thread' });
  await store.append([next]);
  const found = await store.find({ threadId: 'a thread' });
  expect(found.map(({ trajectory }) => trajectory.id)).toEqual([old.id, next.id]);
});

it('refuses what a newer version has written, and says so', async () => {
  store = await openSqliteStore({ folder });
  const file = new DatabaseSync(store.location);
  file.prepare('insert into kysely_migration values (?, ?)').run('9999-later', new Date().toISOString());
  file.close();
  await store.close();
  store = undefined;
  await expect(openSqliteStore({ folder })).rejects.toThrow(/written by a newer version.*Upgrade/);
});
