/**
 * How many rows a second become durable, and how long the host's event loop is held up meanwhile. In processes of their own,
 * because what the other parts leave in the heap makes collections longer; several, because one pause of the machine may decide
 * the p99 of one.
 */
import { execa } from 'execa';
import { median, round } from '../statistics.ts';
import type { LoopDelay } from './loop-delay.ts';
import type { StoreFigures, Written } from './store-child.ts';

/** Medians over the processes; `each` has what an event waited at p99 in every one of them, milliseconds. */
export interface StoreResult extends StoreFigures {
  readonly each: Readonly<Record<'fullSpeed' | 'paced', readonly number[]>>;
}

/** Measures the store behind its sink, each time on a fresh file in the temporary folder. */
export async function benchStore(
  rows: number,
  repeats: number,
  onProgress: (line: string) => void,
): Promise<StoreResult> {
  const found: StoreFigures[] = [];
  for (let repeat = 1; repeat <= repeats; repeat += 1) {
    onProgress(`the store ${String(repeat)}/${String(repeats)}`);
    found.push(await runChild(rows));
  }
  const middle = (pick: (one: StoreFigures) => number): number => round(median(found.map(pick)));
  const loopDelay = (pick: (one: StoreFigures) => LoopDelay): LoopDelay => ({
    event: { p99: middle((one) => pick(one).event.p99), max: middle((one) => pick(one).event.max) },
    timerP99: middle((one) => pick(one).timerP99),
  });
  const written = (speed: 'fullSpeed' | 'paced'): Written => ({
    rowsPerSecond: middle((one) => one[speed].rowsPerSecond),
    loopDelay: loopDelay((one) => one[speed].loopDelay),
  });
  const each = (speed: 'fullSpeed' | 'paced') => found.map((one) => one[speed].loopDelay.event.p99);
  return {
    bytesPerRow: middle((one) => one.bytesPerRow),
    fdatasyncP50Ms: middle((one) => one.fdatasyncP50Ms),
    idle: loopDelay((one) => one.idle),
    fullSpeed: written('fullSpeed'),
    paced: written('paced'),
    ackP50Ms: middle((one) => one.ackP50Ms),
    ackP99Ms: middle((one) => one.ackP99Ms),
    dropped: found.reduce((total, one) => total + one.dropped, 0),
    each: { fullSpeed: each('fullSpeed'), paced: each('paced') },
  };
}

async function runChild(rows: number): Promise<StoreFigures> {
  const child = new URL('./store-child.ts', import.meta.url).pathname;
  const { stdout } = await execa(process.execPath, [...process.execArgv, child, String(rows)], {
    stderr: 'inherit',
  });
  return JSON.parse(stdout.split('\n').at(-1) ?? '') as StoreFigures;
}
