/** A running sidecar as a backend: serves, trains, publishes, adopts. */
import { readFile, readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { AbortedError, AdapterRefusedError, SidecarError, TrainingFailedError } from '../../errors.ts';
import { policyId, type PolicyRef } from '../../trajectory/ids.ts';
import type {
  AdapterRef,
  BackendContext,
  CanaryReport,
  Endpoint,
  PolicyTarget,
  RunningBackend,
  TrainingEvent,
  TrainingJob,
} from '../backend.ts';
import { groupRows } from '../rows.ts';
import { jobError, type Health, type JobEvent } from './client.ts';
import type { AdapterTransfer, Sidecar, SidecarHost } from './host.ts';
import { toSidecarJob } from './job.ts';
import { adaptersFolder } from './locations.ts';

/** A step that is being unloaded is published anew as soon as its last request has ended, or 30 s are over. */
const unloadingPauseMs = 100;
const unloadingTries = 300;

/** How often a job is submitted again after its sidecar has died under it. */
const jobAttempts = 3;
/** How often a step is sent again to a sidecar that does not answer: each failed one waits for the next life. */
const publishAttempts = 5;
/** How often in a row the line to a job that goes on may be cut before an event of it comes. */
const cutsInARow = 20;

export interface LocalParts {
  readonly host: SidecarHost;
  readonly transfer: AdapterTransfer;
  /** Layers that get an adapter unless a job says otherwise; null: all linear ones. */
  readonly loraTargets: readonly string[] | null;
}

export class RunningLocalBackend implements RunningBackend {
  readonly #context: BackendContext;
  readonly #host: SidecarHost;
  readonly #transfer: AdapterTransfer;
  readonly #root: string;
  readonly #loraTargets: readonly string[] | null;

  constructor(context: BackendContext, { host, transfer, loraTargets }: LocalParts) {
    this.#context = context;
    this.#root = resolve(context.folder);
    this.#loraTargets = loraTargets;
    this.#host = host;
    this.#transfer = transfer;
  }

  async endpoint(policy: PolicyTarget, signal?: AbortSignal): Promise<Endpoint> {
    const { baseUrl, token, health, fetch } = await this.#host.process(signal);
    const model = policy === 'base' ? 'base' : policyId(policy);
    if (policy !== 'base' && !this.#host.published.has(policy)) {
      throw new AdapterRefusedError(`${model} is not published.`, {
        fix: 'Publish it first; a step that was retired can be published again.',
      });
    }
    return {
      model,
      baseUrl: `${baseUrl}/v1`,
      apiKey: token,
      ...(fetch === undefined ? {} : { fetch }),
      identity: {
        baseModel: health.base_model,
        baseDigest: health.base_digest,
        tokenizerDigest: health.tokenizer_digest,
        chatTemplateDigest: health.chat_template_digest,
        contextLength: health.context_length,
      },
    };
  }

  /** What its sidecar says of itself: what serves, and whether that is ready. Throws SidecarError. */
  async health(signal?: AbortSignal): Promise<Health> {
    const { client } = await this.#host.process(signal);
    return client.health(signal);
  }

  async *train(job: TrainingJob, signal?: AbortSignal): AsyncGenerator<TrainingEvent> {
    const progress: JobProgress = {
      instance: undefined,
      seen: 0,
      attempts: 0,
      cuts: 0,
      lastError: undefined,
    };
    for (;;) {
      const sidecar = await this.#host.process(signal);
      await begin(progress, sidecar).catch((error: unknown) => {
        throw asTrainingFailure(job, error);
      });
      const onAbort = (): void => {
        sidecar.client.cancelJob(job.jobId).catch(() => undefined); // the job, or the sidecar, is gone already
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      try {
        for await (const event of this.#follow(sidecar, job, progress, signal)) {
          yield event;
          if (event.type === 'ended') return;
        }
        throw new SidecarError(`The events of job ${job.jobId} ended early.`, {
          fix: 'It is submitted again.',
          retryable: true,
        });
      } catch (error) {
        if (signal?.aborted === true) throw new AbortedError('The training job', error);
        if (error instanceof AdapterRefusedError || isFinal(error, progress))
          throw asTrainingFailure(job, error);
        // Submitted again, it begins anew, or is found finished.
        if (error instanceof TrainingFailedError) progress.seen = 0;
        progress.lastError = error;
      } finally {
        signal?.removeEventListener('abort', onAbort);
      }
    }
  }

  /** Submits the job, which finds it again where it is known, and tells what has not been told. */
  async *#follow(
    sidecar: Sidecar,
    job: TrainingJob,
    progress: JobProgress,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<TrainingEvent> {
    const { client, health } = sidecar;
    const { rows } = groupRows(job.groups, health.context_length);
    if (rows.length === 0) throw nothingToTrain(job);
    const given = { ...job, parent: await this.#parent(sidecar, job, signal) };
    await client.startJob(
      toSidecarJob(given, this.#transfer.nameOf(job.name, job.step), rows, this.#loraTargets),
    );
    for await (const event of client.jobEvents(job.jobId, progress.seen)) {
      // A short job may have ended in the meantime, and its last events lie here already.
      if (signal?.aborted === true) throw new AbortedError('The training job', signal.reason);
      yield event.type === 'ended'
        ? {
            type: 'ended',
            adapter: await this.#transfer.take(sidecar, event.adapter, signal),
            metrics: event.metrics,
          }
        : toTrainingEvent(event);
      progress.seen = event.seq;
      progress.cuts = 0;
    }
  }

  async #parent(
    sidecar: Sidecar,
    { parent }: TrainingJob,
    signal: AbortSignal | undefined,
  ): Promise<AdapterRef | null> {
    if (parent === null) return null;
    return { ...parent, location: await this.#transfer.give(sidecar, parent.location, signal) };
  }

  async publish({ name, step, location }: AdapterRef): Promise<CanaryReport> {
    const attempts = { unloading: 0, lost: 0 };
    for (;;) {
      const sidecar = await this.#host.process();
      try {
        const report = await sidecar.client.publish(name, step, await this.#transfer.give(sidecar, location));
        this.#host.published.remember({ name, step, folder: location });
        return report;
      } catch (error) {
        if (!isPassing(error, attempts)) throw error;
        await pause(unloadingPauseMs);
      }
    }
  }

  /**
   * Takes a PEFT folder that was trained elsewhere on the very same base model, for instance one that the serverless
   * backend fetched, as step `step`: it can be published, and training goes on from it. Throws AdapterRefusedError.
   */
  async adopt(source: string, step: number): Promise<AdapterRef> {
    const sidecar = await this.#host.process();
    const { name } = this.#context;
    const adapter = { name, step, folder: this.#transfer.nameOf(name, step) };
    const adopted = await this.#transfer.lend(sidecar, resolve(source), (folder) =>
      sidecar.client.adopt(folder, adapter),
    );
    return this.#transfer.take(sidecar, adopted);
  }

  async retire(ref: PolicyRef): Promise<void> {
    this.#host.published.forget(ref);
    const { client } = await this.#host.process();
    try {
      await client.retire(ref.name, ref.step);
    } catch (error) {
      if (!(error instanceof SidecarError)) throw error;
      // A sidecar that died under it starts without the step.
      if (error.sidecarCode !== 'adapter_not_found' && !error.retryable) throw error;
    }
  }

  async adapters(): Promise<readonly AdapterRef[]> {
    const root = adaptersFolder(this.#root, this.#context.name);
    const entries = await readdir(root).catch(() => []);
    const found: AdapterRef[] = [];
    for (const entry of entries.sort()) {
      // What a crash left half written has a temporary name.
      if (entry.endsWith('.tmp')) await rm(join(root, entry), { recursive: true, force: true });
      const text = await readFile(join(root, entry, 'manifest.json'), 'utf8').catch(() => undefined);
      const manifest = text === undefined ? undefined : manifestSchema.safeParse(JSON.parse(text));
      if (manifest?.success !== true) continue;
      const { name, step, digest } = manifest.data;
      found.push({ name, step, location: join(root, entry), version: digest });
    }
    return found;
  }

  async close(): Promise<void> {
    await this.#host.close();
  }
}

/** Whether another try may help: a step whose last requests are being answered, or a sidecar that died under it. */
function isPassing(error: unknown, attempts: { unloading: number; lost: number }): boolean {
  if (error instanceof AdapterRefusedError && error.retryable)
    return (attempts.unloading += 1) < unloadingTries;
  return error instanceof SidecarError && error.retryable && (attempts.lost += 1) < publishAttempts;
}

/** How far a job has come, over restarts of its sidecar and cuts of the line to it. */
interface JobProgress {
  /** The life of the sidecar that runs it. */
  instance: string | undefined;
  /** Number of the last event that was told. */
  seen: number;
  /** Lives of the sidecar in which it was submitted. */
  attempts: number;
  /** How often in a row the line was cut without news. */
  cuts: number;
  lastError: unknown;
}

/** Throws what ended the last life of the sidecar where there have been enough of them. */
async function begin(progress: JobProgress, { health }: Sidecar): Promise<void> {
  if (progress.instance === health.instance) {
    progress.cuts += 1;
    await pause(Math.min(50 * progress.cuts, 1000));
    return;
  }
  if (progress.attempts === jobAttempts) throw progress.lastError;
  // Another life: it numbers the events of the job anew.
  progress.instance = health.instance;
  progress.seen = 0;
  progress.attempts += 1;
}

/** Refusals are final, and so is a line that does not hold; what else there is may be the sidecar's end. */
function isFinal(error: unknown, { cuts }: JobProgress): boolean {
  if (cuts >= cutsInARow) return true;
  if (error instanceof TrainingFailedError) return !error.retryable;
  return error instanceof SidecarError && error.sidecarCode !== undefined && !error.retryable;
}

function asTrainingFailure(job: TrainingJob, error: unknown): TrainingFailedError {
  if (error instanceof TrainingFailedError) return error;
  return new TrainingFailedError(`Job ${job.jobId} could not be done: ${String(error)}`, {
    fix: 'See the cause; the last published step goes on serving.',
    cause: error,
  });
}

function nothingToTrain(job: TrainingJob): TrainingFailedError {
  return new TrainingFailedError(`Job ${job.jobId} holds no call that can be trained on.`, {
    fix: 'Look at `trainability` of its recorded calls: tokens of a policy, sampled at temperature 1, with logprobs.',
  });
}

const manifestSchema = z.object({ name: z.string(), step: z.int(), digest: z.string() });

function toTrainingEvent(event: Exclude<JobEvent, { type: 'ended' }>): TrainingEvent {
  switch (event.type) {
    case 'started':
      return { type: 'started' };
    case 'gradient_step':
      return { type: 'gradient-step', index: event.index, of: event.of, metrics: event.metrics };
    case 'failed':
    case 'cancelled':
      throw jobError(event);
    default:
      return event satisfies never;
  }
}
