/** Links an attempt to the failed one before it. The frameworks' retries are calls of their own, with the same prompt. */
import { isDeepStrictEqual } from 'node:util';

/** A failed call that nothing has tried again so far. */
export interface Failure {
  readonly callId: string;
  readonly prompt: Prompt;
}

/** A run, as far as it is about them. */
export interface Attempts {
  /** Calls that failed and that nothing has tried again so far. */
  readonly failures: Failure[];
}

/** The messages of a call, in whatever shape the framework has them. */
export type Prompt = readonly unknown[];

/** The failed call of this run that a call with this prompt tries again, if there is one. */
export function retryOf(run: Attempts, prompt: Prompt): string | undefined {
  const pending = run.failures;
  // Nearly always, and nothing is compared.
  if (pending.length === 0) return undefined;
  const index = pending.findLastIndex((failure) => isSamePrompt(failure.prompt, prompt));
  const [failure] = index < 0 ? [] : pending.splice(index, 1);
  return failure?.callId;
}

/** Remembers an attempt that failed. */
export function noteFailure(run: Attempts, prompt: Prompt, callId: string): void {
  run.failures.push({ callId, prompt });
}

/** Some frameworks build the prompt anew for each attempt: as many messages, and the same one at the end, will do. */
function isSamePrompt(one: Prompt, other: Prompt): boolean {
  return one === other || (one.length === other.length && isDeepStrictEqual(one.at(-1), other.at(-1)));
}
