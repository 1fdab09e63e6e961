import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { folderCache, memoryCache } from './cache.ts';

it('keeps judgements in a folder over restarts, whole files only', async () => {
  const folder = join(await mkdtemp(join(tmpdir(), 'apprentice-judge-')), 'cache');
  await folderCache(folder).set('key', '{"score": 1}');
  expect(await folderCache(folder).get('key')).toBe('{"score": 1}');
  expect(await folderCache(folder).get('other')).toBeUndefined();
  expect(await readdir(folder)).toEqual(['key.json']);
});

it('keeps the last ones in memory', async () => {
  const cache = memoryCache(2);
  for (const key of ['a', 'b', 'c']) await cache.set(key, key);
  expect([await cache.get('a'), await cache.get('b'), await cache.get('c')]).toEqual([undefined, 'b', 'c']);
});
