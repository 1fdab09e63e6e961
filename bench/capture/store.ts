/**
 * How many rows a second become durable, and how long the host's event loop is held up meanwhile; in a process of its own,
 * because what the other parts leave in the heap makes collections longer.
 */
import { execa } from 'execa';
import type { StoreFigures } from './store-child.ts';

export type { StoreFigures } from './store-child.ts';

/** Measures the store behind its sink, on a fresh file in the temporary folder. */
export async function benchStore(rows: number): Promise<StoreFigures> {
  const child = new URL('./store-child.ts', import.meta.url).pathname;
  const { stdout } = await execa(process.execPath, [...process.execArgv, child, String(rows)], {
    stderr: 'inherit',
  });
  return JSON.parse(stdout.split('\n').at(-1) ?? '') as StoreFigures;
}
