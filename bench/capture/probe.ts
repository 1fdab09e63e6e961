/** Sends the time once in a millisecond, as something outside would that the host has to answer. */
import { parentPort } from 'node:worker_threads';
import { monotonicMs } from './loop-delay.ts';

const nobodyWakes = new Int32Array(new SharedArrayBuffer(4));
for (;;) {
  Atomics.wait(nobodyWakes, 0, 0, 1);
  parentPort?.postMessage(monotonicMs());
}
