/**
 * What the code that is running belongs to: its run, and the model call on whose way it is. One storage for all of it, as
 * each one more is looked up, and copied, within the user's call.
 */
import type { ActiveRun } from './run.ts';
import { sharedStorage } from './shared-storage.ts';

interface Scope {
  readonly run: ActiveRun | undefined;
  /** The prompt that is being answered, by identity. */
  readonly answering: readonly unknown[] | undefined;
  readonly sideCalls: boolean;
}

const storage = sharedStorage<Scope>('apprentice.scope.2');
const outside: Scope = { run: undefined, answering: undefined, sideCalls: false };

function here(): Scope {
  return storage.getStore() ?? outside;
}

/** The run that the code calling this belongs to. */
export function currentRun(): ActiveRun | undefined {
  return here().run;
}

/** Runs `start` so that everything it starts, now or later, belongs to `run`. */
export function withRun<T>(run: ActiveRun, start: () => T): T {
  const { answering, sideCalls } = here();
  return storage.run({ run, answering, sideCalls }, start);
}

/** Whether the code that calls this was started by `asSideCalls`. */
export function inSideCalls(): boolean {
  return here().sideCalls;
}

/** Runs `start` so that the model calls it makes are recorded, but are no part of the task. */
export function asSideCalls<T>(start: () => T): T {
  const { run, answering } = here();
  return storage.run({ run, answering, sideCalls: true }, start);
}

/**
 * Runs `work`, which sends a model call, so that no layer below records that call again. One call passes through several
 * that could: a wrapped model above a recording `fetch`, a model wrapped twice. The outermost takes it.
 */
export function answer<T>(prompt: readonly unknown[], work: () => T): T {
  const { run, sideCalls } = here();
  return storage.run({ run, answering: prompt, sideCalls }, work);
}

/** Whether a layer above has taken a call with exactly this prompt. */
export function isAnswering(prompt: readonly unknown[]): boolean {
  return here().answering === prompt;
}

/** Whether a layer above has taken the call that is being sent. */
export function isInsideCall(): boolean {
  return here().answering !== undefined;
}
