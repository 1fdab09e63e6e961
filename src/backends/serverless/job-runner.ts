/**
 * One job at the service, from the note that it is about to be sent to the checkpoint that it made. Sent once: what may
 * have been accepted is looked for before it is sent again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { AbortedError, ServiceRequestError, TrainingFailedError } from '../../errors.ts';
import type { TrainingEvent } from '../backend.ts';
import type { TrainingServiceClient } from './client.ts';
import { followJob, type JobOutcome } from './events.ts';
import type { JobRecord, JobRecords } from './job-records.ts';
import type { ServerlessSettings } from './options.ts';
import type { ServiceCheckpoint } from './wire.ts';

export interface ServiceJob {
  readonly jobId: string;
  /** The step that it is to make. */
  readonly step: number;
  /** What must be there before, and may be done again. */
  readonly prepare?: (signal: AbortSignal) => Promise<void>;
  /** Sends it and gives the service's id. */
  readonly send: (signal: AbortSignal) => Promise<string>;
}

export interface FinishedJob extends JobOutcome {
  readonly checkpoint: ServiceCheckpoint;
  readonly seconds: number;
}

export interface JobRunnerParts {
  readonly client: TrainingServiceClient;
  readonly modelId: string;
  readonly records: JobRecords;
  readonly settings: ServerlessSettings;
  readonly say: (message: string) => void;
}

type Sent = Extract<JobRecord, { state: 'sent' }>;

export class JobRunner {
  readonly #parts: JobRunnerParts;

  constructor(parts: JobRunnerParts) {
    this.#parts = parts;
  }

  /**
   * Yields what happens; returns what came of it. Throws TrainingFailedError, after which there is no new step;
   * ServiceRequestError, BackendUnavailableError and AbortedError, after which the same call goes on with the job.
   */
  async *run(
    job: ServiceJob,
    signal: AbortSignal,
  ): AsyncGenerator<Exclude<TrainingEvent, { type: 'ended' }>, FinishedJob> {
    const { client, records, settings } = this.#parts;
    const { pollMs, stallTimeoutMs } = settings;
    const startedAt = performance.now();
    const seconds = (): number => (performance.now() - startedAt) / 1000;
    let record = await records.read(job.jobId);
    if (record?.state === 'sending') {
      const made = await this.#lookForStep(job, record, signal);
      if (made !== undefined) return { checkpoint: made, gradientSteps: 0, metrics: {}, seconds: seconds() };
      record = undefined;
    }
    const sent = record ?? (await this.#send(job, signal));
    let outcome: JobOutcome = { gradientSteps: 0, metrics: {} };
    try {
      outcome = yield* followJob({ client, jobId: sent.serviceJobId, pollMs, stallTimeoutMs, signal });
    } catch (error) {
      if (error instanceof TrainingFailedError) await records.remove(job.jobId);
      // The service forgets old jobs; the step that one made stays.
      if (!(error instanceof ServiceRequestError && error.status === 404)) throw error;
    }
    const checkpoint = await this.#waitForStep(job, signal);
    return { ...outcome, checkpoint, seconds: seconds() };
  }

  async #send(job: ServiceJob, signal: AbortSignal): Promise<Sent> {
    const { client, modelId, records } = this.#parts;
    const latestStep = (await client.latestCheckpoint(modelId, signal))?.step ?? 0;
    if (latestStep + 1 !== job.step) {
      throw new TrainingFailedError(
        `Job ${job.jobId} is to make step ${String(job.step)}, but the service is at step ${String(latestStep)}.`,
        {
          fix: 'Start training again: it goes on from the service’s step. Where somebody else trains this model, use a name of your own.',
        },
      );
    }
    await job.prepare?.(signal);
    const at = Date.now();
    await records.write(job.jobId, { state: 'sending', latestStep, at });
    let serviceJobId: string;
    try {
      serviceJobId = await job.send(signal);
    } catch (error) {
      throw await this.#notSent(job, latestStep, error);
    }
    const sent: Sent = { state: 'sent', serviceJobId, latestStep, at };
    await records.write(job.jobId, sent);
    return sent;
  }

  /** What to tell of a job that could not be sent; forgets it where it is certain that it was not accepted. */
  async #notSent(job: ServiceJob, latestStep: number, error: unknown): Promise<unknown> {
    if (error instanceof AbortedError) return error;
    if (error instanceof ServiceRequestError && error.mayBeDone) {
      const { request, status, detail } = error;
      return new ServiceRequestError(
        `${error.message} Whether job ${job.jobId} was accepted is not known; the latest step before it was ${String(latestStep)}.`,
        {
          request,
          mayBeDone: true,
          retryable: true,
          fix: `Start training again: where step ${String(job.step)} has appeared by then, it is taken over and nothing is trained twice.`,
          cause: error,
          ...(status === undefined ? {} : { status }),
          ...(detail === undefined ? {} : { detail }),
        },
      );
    }
    await this.#parts.records.remove(job.jobId);
    const hopeless = error instanceof ServiceRequestError && [400, 404, 413, 422].includes(error.status ?? 0);
    if (!hopeless) return error;
    return new TrainingFailedError(`The service refused job ${job.jobId}: ${error.message}`, {
      fix: 'The last published step goes on serving.',
      cause: error,
    });
  }

  /** The step of a job that was sent without an answer; undefined once it can be taken as never accepted. */
  async #lookForStep(
    job: ServiceJob,
    record: JobRecord,
    signal: AbortSignal,
  ): Promise<ServiceCheckpoint | undefined> {
    const { settings, say, records } = this.#parts;
    const until = record.at + settings.stallTimeoutMs;
    for (let looks = 0; ; looks += 1) {
      const found = await this.#checkpoint(job.step, signal);
      if (found !== undefined) return found;
      if (Date.now() >= until) break;
      if (looks === 0) {
        const left = Math.ceil((until - Date.now()) / 1000);
        say(`Job ${job.jobId} may have been accepted: watching for its step, ${String(left)} s at most`);
      }
      await rest(settings.pollMs, signal);
    }
    await records.remove(job.jobId);
    return undefined;
  }

  /** The list may lag behind the end of the job. */
  async #waitForStep(job: ServiceJob, signal: AbortSignal): Promise<ServiceCheckpoint> {
    const { settings, records } = this.#parts;
    const until = performance.now() + settings.checkpointTimeoutMs;
    for (;;) {
      const found = await this.#checkpoint(job.step, signal);
      if (found !== undefined) return found;
      if (performance.now() >= until) break;
      await rest(Math.min(settings.pollMs, settings.checkpointTimeoutMs), signal);
    }
    await records.remove(job.jobId);
    throw new TrainingFailedError(`Job ${job.jobId} ended, but made no step ${String(job.step)}.`, {
      fix: 'The service trains nothing where all rewards of each group are equal, or choices lack logprobs. Look at the groups, or raise `checkpointTimeoutMs`.',
    });
  }

  async #checkpoint(step: number, signal: AbortSignal): Promise<ServiceCheckpoint | undefined> {
    const { client, modelId } = this.#parts;
    const latest = await client.latestCheckpoint(modelId, signal);
    if (latest === undefined || latest.step < step) return undefined;
    if (latest.step === step) return latest;
    return (await client.checkpoints(modelId, signal)).find((one) => one.step === step);
  }
}

async function rest(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await pause(milliseconds, undefined, { signal });
  } catch {
    throw new AbortedError('Waiting for the training service', signal.reason);
  }
}
