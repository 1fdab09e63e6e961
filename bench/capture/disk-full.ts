/** Recording with the disk full: a process whose files may not grow beyond a few megabytes. */
import { execa } from 'execa';
import type { DiskFullFigures } from './disk-full-child.ts';

export type { DiskFullFigures } from './disk-full-child.ts';

/** `kilobytes`: how large a file may become. */
export async function benchDiskFull(runs: number, kilobytes: number): Promise<DiskFullFigures> {
  const child = new URL('./disk-full-child.ts', import.meta.url).pathname;
  const command = ['exec', '"$0"', '"$@"'].join(' ');
  const { stdout } = await execa('bash', [
    '-c',
    `ulimit -f ${String(kilobytes)}; ${command}`,
    process.execPath,
    // A small heap: what is not released shows as a crash, not as garbage that nobody has collected yet.
    '--max-old-space-size=160',
    '--max-semi-space-size=8',
    ...process.execArgv,
    child,
    String(runs),
  ]);
  return JSON.parse(stdout.split('\n').at(-1) ?? '') as DiskFullFigures;
}
