import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storeContract } from '../contract.ts';
import { openSqliteStore } from './index.ts';

storeContract('SQLite', async () =>
  openSqliteStore({ folder: await mkdtemp(join(tmpdir(), 'apprentice-store-')) }),
);
