/**
 * One model call passes through several layers that could record it: a wrapped model above a recording `fetch`, a model
 * wrapped twice. The outermost takes it; those below see that it is taken.
 */
import { sharedStorage } from './shared-storage.ts';

/** The prompt that is being answered, by identity. */
const answering = sharedStorage<readonly unknown[]>('apprentice.answering.1');

/** Runs `work`, which sends a model call, so that no layer below records that call again. */
export function answer<T>(prompt: readonly unknown[], work: () => T): T {
  return answering.run(prompt, work);
}

/** Whether a layer above has taken a call with exactly this prompt. */
export function isAnswering(prompt: readonly unknown[]): boolean {
  return answering.getStore() === prompt;
}

/** Whether a layer above has taken the call that is being sent. */
export function isInsideCall(): boolean {
  return answering.getStore() !== undefined;
}
