import type { ActiveRun } from './run.ts';
import { sharedStorage } from './shared-storage.ts';

const storage = sharedStorage<ActiveRun>('apprentice.scope.1');

/** The run that the code calling this belongs to. */
export function currentRun(): ActiveRun | undefined {
  return storage.getStore();
}

/** Runs `start` so that everything it starts, now or later, belongs to `run`. */
export function withRun<T>(run: ActiveRun, start: () => T): T {
  return storage.run(run, start);
}

const sideCalls = sharedStorage<true>('apprentice.side-calls.1');

/** Whether the code that calls this was started by `asSideCalls`. */
export function inSideCalls(): boolean {
  return sideCalls.getStore() === true;
}

/** Runs `start` so that the model calls it makes are recorded, but are no part of the task. */
export function asSideCalls<T>(start: () => T): T {
  return sideCalls.run(true, start);
}
