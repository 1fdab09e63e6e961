/** A model of the service, ready to be trained and asked. */
import { setTimeout as pause } from 'node:timers/promises';
import {
  AdapterRefusedError,
  BackendUnavailableError,
  InvalidOptionError,
  TrainingFailedError,
} from '../../errors.ts';
import { policyId, type PolicyRef } from '../../trajectory/ids.ts';
import type {
  AdapterRef,
  CanaryReport,
  Endpoint,
  PolicyTarget,
  RunningBackend,
  TrainingEvent,
  TrainingJob,
} from '../backend.ts';
import { runCanary } from './canary.ts';
import type { TrainingServiceClient } from './client.ts';
import { countChoices, toWireGroups } from './groups.ts';
import type { ServiceHttp } from './http.ts';
import type { JobRecords } from './job-records.ts';
import { JobRunner, type FinishedJob, type ServiceJob } from './job-runner.ts';
import { chartNames, groupFigures, type Numbers } from './metrics.ts';
import { latestName, stepName } from './names.ts';
import { toServiceConfig, type ServerlessSettings } from './options.ts';
import type { Secret } from './secret.ts';
import { toDataset, toSftConfig, type SupervisedOptions } from './supervised.ts';
import type { ServiceCheckpoint, ServiceModel } from './wire.ts';
import { downloadArtifact } from './wandb/download.ts';
import type { RunName, WandbGraphql } from './wandb/graphql.ts';
import { WandbRun } from './wandb/runs.ts';
import { uploadArtifact } from './wandb/upload.ts';

export interface RunningParts {
  readonly settings: ServerlessSettings;
  readonly secret: Secret;
  readonly http: ServiceHttp;
  readonly client: TrainingServiceClient;
  readonly wandb: WandbGraphql;
  readonly model: ServiceModel;
  readonly records: JobRecords;
  readonly say: (message: string) => void;
}

export class RunningServerlessBackend implements RunningBackend {
  readonly #parts: RunningParts;
  readonly #jobs: JobRunner;
  readonly #published = new Set<string>();
  readonly #closing = new AbortController();
  #warnedOfMetrics = false;

  constructor(parts: RunningParts) {
    this.#parts = parts;
    const { client, model, records, settings, say } = parts;
    this.#jobs = new JobRunner({ client, modelId: model.id, records, settings, say });
  }

  /** The model as the service knows it, with the entity that it was given. */
  get model(): ServiceModel {
    return this.#parts.model;
  }

  /** The name of whichever step is the latest; it changes under whoever uses it. */
  get latestName(): string {
    return latestName(this.#parts.model);
  }

  endpoint(policy: PolicyTarget): Promise<Endpoint> {
    return settle(() => this.#endpoint(policy));
  }

  #endpoint(policy: PolicyTarget): Endpoint {
    const { settings, secret, model } = this.#parts;
    this.#throwIfClosed();
    if (policy !== 'base' && !this.#published.has(policyId(policy))) {
      throw new AdapterRefusedError(`${policyId(policy)} is not published.`, {
        fix: 'Publish it first; a step that was retired can be published again.',
      });
    }
    const endpoint = {
      baseUrl: settings.inferenceUrl,
      model: stepName(model, policy === 'base' ? 0 : policy.step),
      identity: { baseModel: model.base_model },
      apiKey: '',
    };
    // Not listed, so that an endpoint that is printed does not show the key.
    return Object.defineProperty(endpoint, 'apiKey', { value: secret.reveal(), enumerable: false });
  }

  async *train(job: TrainingJob, signal?: AbortSignal): AsyncGenerator<TrainingEvent> {
    const { client, model, settings } = this.#parts;
    const groups = toWireGroups(job.groups);
    if (countChoices(groups) === 0) {
      throw new TrainingFailedError(`Job ${job.jobId} holds no call that can be trained on.`, {
        fix: 'Look at `trainability` of its recorded calls: tokens of a policy, sampled at temperature 1, with logprobs.',
      });
    }
    const config = toServiceConfig(job, settings.config);
    const send = (abort: AbortSignal) => client.startTraining({ modelId: model.id, groups, config }, abort);
    const { jobId, step } = job;
    const finished = yield* this.#run({ jobId, step, send }, signal);
    const metrics = { ...chartNames(finished.metrics), ...groupFigures(job.groups), ...jobFigures(finished) };
    if (settings.metrics === 'wandb') await this.#logQuietly(metrics, step);
    yield { type: 'ended', adapter: this.#toAdapterRef(finished.checkpoint), metrics };
  }

  /**
   * Learns from example chats; makes the next step, which must be published to be served. Resumes a job with the same
   * examples that was interrupted. Throws as `train`, and InvalidOptionError.
   */
  async *fineTune(options: SupervisedOptions, signal?: AbortSignal): AsyncGenerator<TrainingEvent> {
    const { client, model, settings } = this.#parts;
    const dataset = toDataset(options);
    const latest = await client.latestCheckpoint(model.id, signal);
    const step = await this.#stepOf(dataset.key, latest?.step ?? 0);
    const jobId = supervisedJobId(dataset.key, step);
    const config = toSftConfig(options, step, settings.metrics === 'wandb');
    const collection = `${model.name}-sft-data-${dataset.key}`;
    const prepare = async (abort: AbortSignal): Promise<void> => {
      const from = this.#runName;
      const run = await WandbRun.open(this.#parts.wandb, from, abort);
      await uploadArtifact(this.#parts.wandb, {
        from,
        type: 'dataset',
        collection,
        files: { 'train.jsonl': Buffer.from(dataset.text) },
        metadata: { format: 'jsonl', num_trajectories: options.examples.length },
        signal: abort,
      });
      // The service takes the run up again, which it can only once it is closed.
      await run.finish();
    };
    const dataUrl = `wandb-artifact:///${model.entity}/${model.project}/${collection}:v0`;
    const send = (abort: AbortSignal) =>
      client.startSupervisedTraining({ modelId: model.id, dataUrl, config }, abort);
    const finished = yield* this.#run({ jobId, step, prepare, send }, signal);
    const metrics = { ...chartNames(finished.metrics), ...jobFigures(finished) };
    // Asked for once more, the same examples are learnt once more.
    await this.#parts.records.remove(jobId);
    yield { type: 'ended', adapter: this.#toAdapterRef(finished.checkpoint), metrics };
  }

  async publish(adapter: AdapterRef): Promise<CanaryReport> {
    const { client, http, model, settings } = this.#parts;
    this.#throwIfClosed();
    const id = policyId(adapter);
    if (adapter.name !== model.name || adapter.location !== stepName(model, adapter.step))
      throw refuse(id, `its location ${adapter.location} is not that of this model’s step`);
    const listed = (await client.checkpoints(model.id)).find((one) => one.step === adapter.step);
    if (listed === undefined) throw refuse(id, 'the service lists no such checkpoint');
    if (listed.id !== adapter.version) throw refuse(id, 'the service lists other weights under this step');
    const until = performance.now() + settings.checkpointTimeoutMs;
    for (;;) {
      try {
        const report = await runCanary({
          http,
          inferenceUrl: settings.inferenceUrl,
          model,
          step: adapter.step,
        });
        this.#published.add(id);
        return report;
      } catch (error) {
        // What was trained just now may take a moment to be served.
        const early = error instanceof AdapterRefusedError && error.retryable && performance.now() < until;
        if (!early) throw error;
        await pause(settings.pollMs);
      }
    }
  }

  retire(policy: PolicyRef): Promise<void> {
    this.#published.delete(policyId(policy));
    return Promise.resolve();
  }

  async adapters(): Promise<readonly AdapterRef[]> {
    const { client, model } = this.#parts;
    const found = await client.checkpoints(model.id);
    return found.filter((one) => one.step >= 1).map((one) => this.#toAdapterRef(one));
  }

  /**
   * Fetches the weights of a step, a PEFT folder that any server of LoRA adapters can load. `folder` must not exist.
   * Gives the artifact's digest, against which every byte was checked. Throws AdapterRefusedError, ServiceRequestError.
   */
  download(step: number, folder: string, signal?: AbortSignal): Promise<string> {
    const { wandb, model } = this.#parts;
    const { entity, project, name } = model;
    return downloadArtifact(wandb, {
      entity,
      project,
      artifact: `${name}:step${String(step)}`,
      folder,
      signal,
    });
  }

  /** Deletes the weights of steps for good: storage costs. Published ones are refused with InvalidOptionError. */
  async deleteCheckpoints(
    steps: readonly number[],
  ): Promise<{ readonly deleted: number; readonly notFound: readonly number[] }> {
    const { client, model } = this.#parts;
    const served = steps.find((step) => this.#published.has(policyId({ name: model.name, step })));
    if (served !== undefined) {
      throw new InvalidOptionError({
        field: 'deleteCheckpoints.steps',
        received: served,
        expected: 'without the steps that are published',
        fix: 'Retire the step first.',
      });
    }
    return client.deleteCheckpoints(model.id, steps);
  }

  /** Adds a row to the charts of the model's run at W&B. Throws ServiceRequestError. */
  async log(metrics: Numbers, step: number): Promise<void> {
    const run = await WandbRun.open(this.#parts.wandb, this.#runName);
    await run.log(metrics, step);
    // Closed each time: a job may take the run up at any moment.
    await run.finish();
  }

  close(): Promise<void> {
    this.#closing.abort();
    return Promise.resolve();
  }

  async *#run(
    job: ServiceJob,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Exclude<TrainingEvent, { type: 'ended' }>, FinishedJob> {
    this.#throwIfClosed();
    const closing = this.#closing.signal;
    return yield* this.#jobs.run(job, signal === undefined ? closing : AbortSignal.any([signal, closing]));
  }

  /** The step of a job with these examples whose end nobody has seen yet, which may be the latest; or the next one. */
  async #stepOf(key: string, latest: number): Promise<number> {
    const unseen = await this.#parts.records.read(supervisedJobId(key, latest));
    return unseen === undefined ? latest + 1 : latest;
  }

  async #logQuietly(metrics: Numbers, step: number): Promise<void> {
    try {
      await this.log(metrics, step);
    } catch (error) {
      // Charts are no reason to lose a step.
      if (this.#warnedOfMetrics) return;
      this.#warnedOfMetrics = true;
      process.emitWarning(`apprentice: the figures could not be sent to W&B: ${String(error)}`, {
        code: 'APPRENTICE_METRICS',
      });
    }
  }

  get #runName(): RunName {
    const { entity, project, name, run_id: run } = this.#parts.model;
    return { entity, project, run: run ?? name };
  }

  #toAdapterRef({ id, step }: ServiceCheckpoint): AdapterRef {
    const { model } = this.#parts;
    return { name: model.name, step, location: stepName(model, step), version: id };
  }

  #throwIfClosed(): void {
    if (!this.#closing.signal.aborted) return;
    throw new BackendUnavailableError('The backend is closed.', { fix: 'Start it again.', retryable: false });
  }
}

function supervisedJobId(key: string, step: number): string {
  return `sft-${String(step)}-${key}`;
}

function jobFigures({ gradientSteps, seconds }: FinishedJob): Numbers {
  return { 'data/step_num_gradient_steps': gradientSteps, 'time/step_trainer_s': seconds };
}

function refuse(id: string, why: string): AdapterRefusedError {
  return new AdapterRefusedError(`${id} cannot be published: ${why}.`, {
    fix: 'Publish what `adapters()` lists; what is served stays as it is.',
  });
}

/** What throws at once as a promise that rejects. */
function settle<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}
