/**
 * What the code that is running belongs to: its run, and the model call on whose way it is. One storage for all of it, as
 * each one more is looked up, and copied, within the user's call.
 */
import type { ActiveRun } from './run.ts';
import { sharedObject, sharedStorage } from './shared-storage.ts';

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

/** Of all copies of the package in this process. */
const layers = sharedObject('apprentice.layers.1', () => ({ count: 0 }));

/**
 * A place that records model calls: a wrapped model, a recording `fetch`. One call passes through several, a wrapped model
 * above a recording `fetch` or a model wrapped twice: the outermost takes it.
 */
export class CallLayer {
  constructor() {
    layers.count += 1;
  }

  /**
   * Whether no call can come to another layer: opening a scope takes time within the user's call. A layer that is made
   * while such a call is under way counts from the next one on.
   */
  get isAlone(): boolean {
    return layers.count === 1;
  }

  /** Runs `work`, which sends a model call, so that no layer below records that call again. */
  answer<T>(prompt: readonly unknown[], work: () => T): T {
    const { run, sideCalls } = here();
    return storage.run({ run, answering: prompt, sideCalls }, work);
  }

  /** Whether a layer above has taken a call with exactly this prompt. */
  isAnswering(prompt: readonly unknown[]): boolean {
    return here().answering === prompt;
  }

  /** Whether a layer above has taken the call that is being sent. */
  isInsideCall(): boolean {
    return here().answering !== undefined;
  }
}
