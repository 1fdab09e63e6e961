/** Follows a job by its events: every one moves the cursor, none counts twice, unknown ones are let be. */
import { setTimeout as pause } from 'node:timers/promises';
import {
  AbortedError,
  BackendUnavailableError,
  ServiceRequestError,
  TrainingFailedError,
} from '../../errors.ts';
import type { TrainingEvent } from '../backend.ts';
import type { TrainingServiceClient } from './client.ts';
import { meanOf, numbersOf, type Numbers } from './metrics.ts';
import type { ServiceEvent } from './wire.ts';

export interface FollowOptions {
  readonly client: TrainingServiceClient;
  /** The service's id. */
  readonly jobId: string;
  readonly pollMs: number;
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** What a job came to: means over its gradient steps, under the service's names. */
export interface JobOutcome {
  readonly gradientSteps: number;
  readonly metrics: Numbers;
}

/**
 * Yields what happens until the job has ended; returns what it came to. Throws TrainingFailedError where it failed,
 * BackendUnavailableError where nothing happens for too long, AbortedError: the job itself goes on in both cases.
 */
export async function* followJob(
  options: FollowOptions,
): AsyncGenerator<Exclude<TrainingEvent, { type: 'ended' }>, JobOutcome> {
  const { pollMs, stallTimeoutMs, signal, jobId } = options;
  const seen = new Set<string>();
  const steps: Numbers[] = [];
  let expected = 0;
  let cursor: string | undefined;
  let movedAt = performance.now();
  for (;;) {
    const events = await readEvents(options, cursor);
    for (const event of events) {
      cursor = event.id;
      if (seen.has(event.id)) continue;
      seen.add(event.id);
      movedAt = performance.now();
      switch (event.type) {
        case 'training_started': {
          const { num_sequences: count } = numbersOf(event.data);
          expected = count ?? 0;
          yield { type: 'started', ...(expected > 0 ? { gradientSteps: expected } : {}) };
          break;
        }
        case 'gradient_step': {
          const metrics = numbersOf(event.data);
          steps.push(metrics);
          yield { type: 'gradient-step', index: steps.length, of: Math.max(expected, steps.length), metrics };
          break;
        }
        case 'training_ended':
          return { gradientSteps: Math.max(expected, steps.length), metrics: meanOf(steps) };
        case 'training_failed':
          throw failed(event, jobId);
        default:
          break; // a newer service may say more
      }
    }
    if (performance.now() - movedAt > stallTimeoutMs) {
      throw new BackendUnavailableError(
        `Job ${jobId} has said nothing for ${String(Math.round(stallTimeoutMs / 1000))} s; it may go on at the service.`,
        { fix: 'Start training again: it is followed on by its id. `stallTimeoutMs` says how long to wait.' },
      );
    }
    try {
      await pause(pollMs, undefined, signal === undefined ? {} : { signal });
    } catch {
      throw new AbortedError('Following the training job, which goes on at the service,', signal?.reason);
    }
  }
}

/** A cursor that the service does not know any more is given up: what was seen is not counted again. */
async function readEvents(
  { client, jobId, signal }: FollowOptions,
  cursor: string | undefined,
): Promise<readonly ServiceEvent[]> {
  try {
    return await client.events(jobId, cursor, signal);
  } catch (error) {
    const lost = error instanceof ServiceRequestError && error.status === 404 && cursor !== undefined;
    if (!lost) throw error;
    return client.events(jobId, undefined, signal);
  }
}

function failed(event: ServiceEvent, jobId: string): TrainingFailedError {
  const message = event.data?.['error_message'];
  const why = typeof message === 'string' && message !== '' ? message : 'the service does not say why';
  return new TrainingFailedError(`Training job ${jobId} failed: ${why.replace(/\.$/, '')}.`, {
    fix: 'Start training again: what is transient passes, and new rollouts are drawn. The last step goes on serving.',
    retryable: true,
  });
}
