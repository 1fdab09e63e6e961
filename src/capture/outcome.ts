import type { StreamEnd } from './tap-callbacks.ts';
import type { CallOutcome } from '../trajectory/records.ts';

/** What an error means for the record: an abort by the caller is no failure of the model. */
export function errorOutcome(error: unknown, signal: AbortSignal | undefined): CallOutcome {
  if (signal?.aborted === true) return { status: 'aborted' };
  const described = describeError(error);
  if (described.name === 'AbortError') return { status: 'aborted' };
  return { status: 'error', error: described };
}

/** What is thrown may be anything, also what cannot be read: nothing of it may fail the host, which has its own error. */
export function describeError(error: unknown): { name: string; message: string } {
  try {
    const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
    return { name, message };
  } catch {
    return { name: 'Error', message: 'What was thrown cannot be read as text.' };
  }
}

/** What the end of a stream means where its `finish` part has not come. */
export function streamOutcome(end: StreamEnd, signal: AbortSignal | undefined): CallOutcome {
  switch (end.type) {
    case 'error':
      return errorOutcome(end.error, signal);
    case 'cancelled':
      return signal?.aborted === true ? { status: 'aborted' } : { status: 'cancelled' };
    case 'done':
      return {
        status: 'error',
        error: { name: 'Error', message: 'The stream ended without a finish part.' },
      };
    default:
      return end satisfies never;
  }
}
