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
import { jobError, type AdoptedAdapter, type JobEvent } from './client.ts';
import type { TrainingEngineName } from './engines.ts';
import { toSidecarJob } from './job.ts';
import { adapterFolder, adaptersFolder } from './locations.ts';
import type { Device } from './machine/plan.ts';
import type { ModelSettings } from './models/registry.ts';
import { Supervisor } from './supervisor.ts';

export interface LocalSettings {
  readonly python: string;
  readonly threads: number;
  readonly dtype: 'float32' | 'bfloat16';
  readonly startTimeoutMs: number;
  readonly training: TrainingEngineName;
  readonly device: Device;
  readonly quantization: '4bit' | 'none';
  readonly model: ModelSettings;
}

/** A step that is being unloaded is published anew as soon as its last request has ended, or 30 s are over. */
const unloadingPauseMs = 100;
const unloadingTries = 300;

/** How often a job is submitted again after its sidecar has died under it. */
const jobAttempts = 3;

export class RunningLocalBackend implements RunningBackend {
  readonly #context: BackendContext;
  readonly #supervisor: Supervisor;
  readonly #root: string;
  readonly #loraTargets: readonly string[] | null;

  constructor(context: BackendContext, settings: LocalSettings) {
    this.#context = context;
    this.#root = resolve(context.folder);
    this.#loraTargets = settings.model.loraTargets;
    this.#supervisor = new Supervisor({
      ...settings,
      baseModel: context.baseModel,
      runFolder: join(this.#root, 'run'),
      onProgress: (stage, message) => context.onProgress?.({ stage, message }),
    });
  }

  async endpoint(policy: PolicyTarget, signal?: AbortSignal): Promise<Endpoint> {
    const { port, token, health } = await this.#supervisor.process(signal);
    const model = policy === 'base' ? 'base' : policyId(policy);
    if (policy !== 'base' && !this.#supervisor.isPublished(policy)) {
      throw new AdapterRefusedError(`${model} is not published.`, {
        fix: 'Publish it first; a step that was retired can be published again.',
      });
    }
    return {
      model,
      baseUrl: `http://127.0.0.1:${String(port)}/v1`,
      apiKey: token,
      identity: {
        baseModel: health.base_model,
        baseDigest: health.base_digest,
        tokenizerDigest: health.tokenizer_digest,
        chatTemplateDigest: health.chat_template_digest,
        contextLength: health.context_length,
      },
    };
  }

  async *train(job: TrainingJob, signal?: AbortSignal): AsyncGenerator<TrainingEvent> {
    const folder = adapterFolder(this.#root, job.name, job.step);
    for (let attempt = 1; ; attempt += 1) {
      const { client, health } = await this.#supervisor.process(signal);
      const { rows } = groupRows(job.groups, health.context_length);
      const onAbort = (): void => {
        client.cancelJob(job.jobId).catch(() => undefined); // the job, or the sidecar, is gone already
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      try {
        if (rows.length === 0) throw nothingToTrain(job);
        await client.startJob(toSidecarJob(job, folder, rows, this.#loraTargets));
        for await (const event of client.jobEvents(job.jobId, 0)) {
          // A short job may have ended in the meantime, and its last events lie here already.
          if (signal?.aborted === true) throw new AbortedError('The training job', signal.reason);
          const known = toTrainingEvent(event);
          yield known;
          if (known.type === 'ended') return;
        }
        throw new SidecarError(`The events of job ${job.jobId} ended early.`, {
          fix: 'It is submitted again.',
          retryable: true,
        });
      } catch (error) {
        if (signal?.aborted === true) throw new AbortedError('The training job', error);
        if (error instanceof TrainingFailedError) throw error;
        if (attempt >= jobAttempts || (error instanceof SidecarError && error.sidecarCode !== undefined)) {
          throw new TrainingFailedError(`Job ${job.jobId} could not be done: ${String(error)}`, {
            fix: 'See the cause; the last published step goes on serving.',
            cause: error,
          });
        }
      } finally {
        signal?.removeEventListener('abort', onAbort);
      }
    }
  }

  async publish({ name, step, location }: AdapterRef): Promise<CanaryReport> {
    for (let tries = 1; ; tries += 1) {
      const { client } = await this.#supervisor.process();
      try {
        const report = await client.publish(name, step, location);
        this.#supervisor.remember({ name, step, folder: location });
        return report;
      } catch (error) {
        // Retired a moment ago: its last requests are still being answered.
        const unloading = error instanceof AdapterRefusedError && error.retryable && tries < unloadingTries;
        if (!unloading) throw error;
        await pause(unloadingPauseMs);
      }
    }
  }

  /**
   * Takes a PEFT folder that was trained elsewhere on the very same base model, for instance one that the serverless
   * backend fetched, as step `step`: it can be published, and training goes on from it. Throws AdapterRefusedError.
   */
  async adopt(source: string, step: number): Promise<AdapterRef> {
    const { client } = await this.#supervisor.process();
    const { name } = this.#context;
    return toAdapterRef(
      await client.adopt(resolve(source), { name, step, folder: adapterFolder(this.#root, name, step) }),
    );
  }

  async retire(ref: PolicyRef): Promise<void> {
    this.#supervisor.forget(ref);
    const { client } = await this.#supervisor.process();
    try {
      await client.retire(ref.name, ref.step);
    } catch (error) {
      if (!(error instanceof SidecarError && error.sidecarCode === 'adapter_not_found')) throw error;
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
    await this.#supervisor.close();
  }
}

function toAdapterRef(adapter: AdoptedAdapter): AdapterRef {
  const { name, step, folder, digest } = adapter;
  return { name, step, location: folder, version: digest };
}

function nothingToTrain(job: TrainingJob): TrainingFailedError {
  return new TrainingFailedError(`Job ${job.jobId} holds no call that can be trained on.`, {
    fix: 'Look at `trainability` of its recorded calls: tokens of a policy, sampled at temperature 1, with logprobs.',
  });
}

const manifestSchema = z.object({ name: z.string(), step: z.int(), digest: z.string() });

function toTrainingEvent(event: JobEvent): TrainingEvent {
  switch (event.type) {
    case 'started':
      return { type: 'started' };
    case 'gradient_step':
      return { type: 'gradient-step', index: event.index, of: event.of, metrics: event.metrics };
    case 'ended':
      return { type: 'ended', adapter: toAdapterRef(event.adapter), metrics: event.metrics };
    case 'failed':
    case 'cancelled':
      throw jobError(event);
    default:
      return event satisfies never;
  }
}
