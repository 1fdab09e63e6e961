import { mkdtemp } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, it } from 'vitest';

/** A host of its own: this process has threads of the test runner. */
const host = `
  import { readdirSync, readFileSync } from 'node:fs';
  import { stat } from 'node:fs/promises';
  import { openSqliteStore } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
  const store = await openSqliteStore({ folder: process.argv[1] });
  await stat('.');
  const threads = readdirSync('/proc/self/task').map((id) => {
    const stat = readFileSync('/proc/self/task/' + id + '/stat', 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  });
  await store.close();
  console.log(JSON.stringify(threads));
`;

it.runIf(process.platform === 'linux' && getPriority() <= 9)(
  'lets the host go first: the priority of the store’s thread is lower, and of no other',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'apprentice-priority-'));
    const { stdout } = await execa(process.execPath, [
      '--disable-warning=ExperimentalWarning',
      '--input-type=module-typescript',
      '--eval',
      host,
      folder,
    ]);
    const threads = JSON.parse(stdout) as number[];
    const own = getPriority();
    expect(threads.filter((priority) => priority === own + 10)).toHaveLength(1);
    expect(threads.filter((priority) => priority === own)).toHaveLength(threads.length - 1);
  },
);
