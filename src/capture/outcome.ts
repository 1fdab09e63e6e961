import type { StreamEnd } from './tap-callbacks.ts';
import type { CallOutcome } from '../trajectory/records.ts';

/** What an error means for the record: an abort by the caller is no failure of the model. */
export function errorOutcome(error: unknown, signal: AbortSignal | undefined): CallOutcome {
  if (signal?.aborted === true) return { status: 'aborted' };
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
  if (name === 'AbortError') return { status: 'aborted' };
  return { status: 'error', error: { name, message } };
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
