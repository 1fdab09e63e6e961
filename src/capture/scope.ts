import { AsyncLocalStorage } from 'node:async_hooks';
import type { ActiveRun } from './run.ts';

/** One storage over duplicate copies of the package (ESM beside CJS, monorepos), so that they share the run. */
const key = Symbol.for('apprentice.scope.1');
const shared = globalThis as { [key]?: AsyncLocalStorage<ActiveRun> };
const storage = (shared[key] ??= new AsyncLocalStorage<ActiveRun>());

/** The run that the code calling this belongs to. */
export function currentRun(): ActiveRun | undefined {
  return storage.getStore();
}

/** Runs `start` so that everything it starts, now or later, belongs to `run`. */
export function withRun<T>(run: ActiveRun, start: () => T): T {
  return storage.run(run, start);
}
