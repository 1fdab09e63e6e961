/** Judgements that were made already: the same judge asked the same thing is not asked, nor paid, twice. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

export interface JudgeCache {
  get(key: string): Promise<string | undefined>;
  set(key: string, text: string): Promise<void>;
}

/** The last `size` judgements, in memory. Default: 2000. */
export function memoryCache(size = 2000): JudgeCache {
  const held = new Map<string, string>();
  return {
    get: (key) => Promise.resolve(held.get(key)),
    set(key, text) {
      held.set(key, text);
      const [oldest] = held.keys();
      if (held.size > size && oldest !== undefined) held.delete(oldest);
      return Promise.resolve();
    },
  };
}

/** One file for each judgement, which restarts and other processes share. Delete the folder to forget them. */
export function folderCache(folder: string): JudgeCache {
  const made = mkdir(folder, { recursive: true });
  // Whoever uses it first meets the error.
  made.catch(() => undefined);
  return {
    async get(key) {
      return readFile(join(folder, `${key}.json`), 'utf8').catch(() => undefined);
    },
    async set(key, text) {
      await made;
      // Never half a file under the final name.
      const part = join(folder, `${randomUUID()}.part`);
      await writeFile(part, text);
      await rename(part, join(folder, `${key}.json`));
    },
  };
}
