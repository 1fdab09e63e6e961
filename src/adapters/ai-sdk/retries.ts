/** Links an attempt to the failed one before it: the AI SDK retries with the very same prompt object. */
import type { ActiveRun } from '../../capture/run.ts';
import type { CallOutcome } from '../../trajectory/records.ts';
import type { CallOptions } from './specification.ts';

const failures = new WeakMap<object, { readonly run: ActiveRun; readonly callId: string }>();

/** The failed call that a call with these options tries again, if there is one in this run. */
export function retryOf(run: ActiveRun, options: CallOptions): { readonly retryOf?: string } {
  const failure = failures.get(options.prompt);
  return failure?.run === run ? { retryOf: failure.callId } : {};
}

/** Remembers how an attempt ended. */
export function noteAttempt(
  run: ActiveRun,
  options: CallOptions,
  callId: string,
  outcome: CallOutcome,
): void {
  if (outcome.status === 'error') failures.set(options.prompt, { run, callId });
  else failures.delete(options.prompt);
}
