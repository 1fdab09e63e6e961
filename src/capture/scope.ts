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
