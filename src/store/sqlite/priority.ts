/**
 * The priority of the store's thread. The system gives a core to the host's thread first where both want it, so that an
 * answer does not wait while rows are written (docs/decisions/0008).
 */
import { getPriority, setPriority } from 'node:os';

/** Steps of `nice` below the host: a tenth of its share of a core that both want. */
const below = 10;
const lowest = 19;

/**
 * Lowers the priority of the thread that calls, for good, and of threads that it starts: Node's pool has to run already,
 * which it does where a file has been touched. On Linux only: elsewhere it would be that of the whole process. Where the
 * system refuses it, nothing changes.
 */
export function letTheHostGoFirst(): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(Math.min(getPriority() + below, lowest));
  } catch {
    // A sandbox may forbid the call; the store works as well without it.
  }
}
