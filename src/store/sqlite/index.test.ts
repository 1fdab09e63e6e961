import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import { aTrajectory } from '../../testing/records.ts';
import { storeContract } from '../contract.ts';
import { openSqliteStore } from './index.ts';
import { keyOf } from './keys.ts';

const newFolder = () => mkdtemp(join(tmpdir(), 'apprentice-store-'));

storeContract('SQLite', async () => openSqliteStore({ folder: await newFolder() }));

it.each([
  ['runId', 'run:wanted'],
  ['responseId', 'response:wanted'],
  ['threadId', 'thread:wanted'],
  ['messageId', 'message:wanted'],
] as const)('does not find by %s what has the same key under another name', async (name, lookup) => {
  const store = await openSqliteStore({ folder: await newFolder() });
  await store.append([aTrajectory({ runId: 'other', threadId: 'other', messageId: 'other' })]);
  const file = new DatabaseSync(store.location);
  file.prepare('insert into recent_keys values (?, 1)').run(keyOf(lookup));
  file.close();
  await expect(store.find({ [name]: 'wanted' })).resolves.toEqual([]);
  await store.close();
});
