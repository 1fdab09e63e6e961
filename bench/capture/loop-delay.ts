/** How late the event loop of this thread is while something else is done. */
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { quantile, round } from '../statistics.ts';

/** Milliseconds. */
export interface LoopDelay {
  /** How long what another thread sends once in a millisecond waits until the loop gets to it. */
  readonly event: { readonly p99: number; readonly max: number };
  /**
   * How late a timer of one millisecond is, by Node's own monitor. Timers lie on a grid of whole milliseconds: a loop that
   * has done something and rests again is late by up to one, though it would have served anything that came.
   */
  readonly timerP99: number;
}

export async function loopDelay(work: () => Promise<unknown>): Promise<LoopDelay> {
  const waits: number[] = [];
  const probe = new Worker(new URL('./probe.ts', import.meta.url));
  probe.on('message', (sent: number) => waits.push(monotonicMs() - sent));
  try {
    await once(probe, 'message');
    const resolution = 1;
    const timers = monitorEventLoopDelay({ resolution });
    waits.length = 0;
    timers.enable();
    await work();
    timers.disable();
    return {
      event: { p99: round(quantile(waits, 0.99)), max: round(Math.max(...waits)) },
      timerP99: round(Math.max(0, timers.percentile(99) / 1e6 - resolution)),
    };
  } finally {
    await probe.terminate();
  }
}

/** The same clock in all threads. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
