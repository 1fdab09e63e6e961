/** The endpoints of the training API, typed. */
import { z } from 'zod';
import { ServiceRequestError } from '../../errors.ts';
import type { ServiceHttp, ServiceRequest } from './http.ts';
import * as wire from './wire.ts';

export interface ModelName {
  /** Default: the key's own. */
  readonly entity?: string;
  readonly project: string;
  readonly name: string;
}

/** Items of a page; the most that the service gives. */
const pageSize = 100;
/** Pages that are read at most: a list of 100 000 items is a fault. */
const maximumPages = 1000;

export class TrainingServiceClient {
  readonly #http: ServiceHttp;
  readonly #base: string;

  /** `baseUrl` ends in `/v1`, or in whatever path a proxy puts before. */
  constructor(http: ServiceHttp, baseUrl: string) {
    this.#http = http;
    this.#base = baseUrl.replace(/\/+$/, '');
  }

  get baseUrl(): string {
    return this.#base;
  }

  /** Ids of the models that can be trained; undefined where the service is too old to say. */
  async baseModels(signal?: AbortSignal): Promise<readonly string[] | undefined> {
    try {
      return await this.#send(wire.baseModels, { method: 'GET', path: '/preview/base-models', signal });
    } catch (error) {
      if (error instanceof ServiceRequestError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Makes the model, or gives the one that is there: hence it may be tried again. */
  registerModel(
    name: ModelName & { readonly baseModel: string },
    signal?: AbortSignal,
  ): Promise<wire.ServiceModel> {
    const { entity, project, baseModel } = name;
    const body = {
      entity: entity ?? null,
      project,
      name: name.name,
      base_model: baseModel,
      return_existing: true,
    };
    return this.#send(wire.model, {
      method: 'POST',
      path: '/preview/models',
      body,
      repeatable: true,
      signal,
    });
  }

  /** Deletes the model with its checkpoints, artifacts and run. */
  async deleteModel(modelId: string): Promise<{ readonly checkpoints: number; readonly run: boolean }> {
    const path = `/preview/models/${modelId}`;
    const gone = await this.#send(wire.deletedModel, { method: 'DELETE', path });
    return { checkpoints: gone.deleted_checkpoints, run: gone.deleted_run };
  }

  /** All checkpoints, by ascending step. */
  async checkpoints(modelId: string, signal?: AbortSignal): Promise<readonly wire.ServiceCheckpoint[]> {
    const path = `/preview/models/${modelId}/checkpoints`;
    const found = await this.#pages(wire.checkpoint, path, undefined, signal);
    return found.toSorted((a, b) => a.step - b.step);
  }

  /** The checkpoint of the highest step; undefined where there is none. */
  async latestCheckpoint(modelId: string, signal?: AbortSignal): Promise<wire.ServiceCheckpoint | undefined> {
    const path = `/preview/models/${modelId}/checkpoints?limit=1&order=desc`;
    return (await this.#send(wire.listOf(wire.checkpoint), { method: 'GET', path, signal })).data[0];
  }

  /** Deletes weights for good. Steps that are not there are named, not refused. */
  async deleteCheckpoints(
    modelId: string,
    steps: readonly number[],
  ): Promise<{ readonly deleted: number; readonly notFound: readonly number[] }> {
    const path = `/preview/models/${modelId}/checkpoints`;
    const gone = await this.#send(wire.deletedCheckpoints, { method: 'DELETE', path, body: { steps } });
    return { deleted: gone.deleted_count, notFound: gone.not_found_steps };
  }

  /** Starts an RL job and gives its id. Never tried again by itself: a repeat trains twice. */
  async startTraining(
    job: {
      readonly modelId: string;
      readonly groups: readonly wire.WireGroup[];
      readonly config: Readonly<Record<string, unknown>>;
    },
    signal?: AbortSignal,
  ): Promise<string> {
    const body = {
      model_id: job.modelId,
      trajectory_groups: job.groups,
      experimental_config: job.config,
    };
    const path = '/preview/training-jobs';
    return (await this.#send(wire.created, { method: 'POST', path, body, signal })).id;
  }

  /** Starts an SFT job and gives its id. Never tried again by itself. */
  async startSupervisedTraining(
    job: { readonly modelId: string; readonly dataUrl: string; readonly config: wire.SftConfig },
    signal?: AbortSignal,
  ): Promise<string> {
    const body = { model_id: job.modelId, training_data_url: job.dataUrl, config: job.config };
    const path = '/preview/sft-training-jobs';
    return (await this.#send(wire.created, { method: 'POST', path, body, signal })).id;
  }

  /** Events of a job after the one named, oldest first; all pages. */
  events(jobId: string, after?: string, signal?: AbortSignal): Promise<readonly wire.ServiceEvent[]> {
    return this.#pages(wire.event, `/preview/training-jobs/${jobId}/events`, after, signal);
  }

  async #pages<T extends z.ZodType<{ id: string }>>(
    item: T,
    path: string,
    after: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<z.infer<T>[]> {
    const found: z.infer<T>[] = [];
    let last = after;
    for (let page = 0; page < maximumPages; page += 1) {
      const query = new URLSearchParams({
        limit: String(pageSize),
        ...(last === undefined ? {} : { after: last }),
      });
      const list = wire.listOf(item);
      const { data, has_more: more } = await this.#send(list, {
        method: 'GET',
        path: `${path}?${String(query)}`,
        signal,
      });
      found.push(...data);
      const next = data.at(-1)?.id;
      // A page that does not move on would be asked for ever.
      if (!more || next === undefined || next === last) return found;
      last = next;
    }
    return found;
  }

  async #send<T>(
    answer: z.ZodType<T>,
    request: Pick<ServiceRequest, 'method' | 'repeatable'> & {
      readonly path: string;
      readonly body?: unknown;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<T> {
    const { method, path, body, signal, repeatable } = request;
    const value = await this.#http.json({
      method,
      url: `${this.#base}${path}`,
      authorisation: 'bearer',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(repeatable === undefined ? {} : { repeatable }),
      ...(signal === undefined ? {} : { signal }),
    });
    const parsed = answer.safeParse(value);
    if (parsed.success) return parsed.data;
    const label = `${method} ${path.split('?')[0] ?? path}`;
    throw new ServiceRequestError(
      `${label} answered otherwise than documented: ${z.prettifyError(parsed.error)}.`,
      {
        request: label,
        mayBeDone: method === 'POST',
        fix: 'Check the base URL and the version of this package.',
        cause: parsed.error,
      },
    );
  }
}
