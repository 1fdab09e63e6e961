/** The training API, endpoints 1 to 12 of §5. */
import { randomUUID } from 'node:crypto';
import type { Artifacts } from './artifacts.ts';
import type { WandbEngine } from './engine.ts';
import type { Behaviour } from './faults.ts';
import { HttpError, type Answer, type Exchange, type Route } from './http.ts';
import type { Jobs } from './jobs.ts';
import { checkConfig } from './rl-config.ts';
import { check, createModel, deleteCheckpoints, logGroups, paginate, rlJob, sftJob } from './schemas.ts';
import type { CheckpointRecord, ModelRecord, WandbState } from './state.ts';

export interface TrainingApiParts {
  readonly state: WandbState;
  readonly engine: WandbEngine;
  readonly jobs: Jobs;
  readonly artifacts: Artifacts;
  readonly behaviour: Behaviour;
  /** The key's default entity. */
  readonly entity: string;
}

export function trainingRoutes(
  parts: TrainingApiParts,
  bearer: Route['authorise'],
  open: Route['authorise'],
): Route[] {
  const api = new TrainingApi(parts);
  const route = (method: string, path: string, authorise: Route['authorise'], handle: Route['handle']) => ({
    method,
    path: `/v1${path}`,
    authorise,
    handle,
  });
  const model = '/preview/models/:model';
  const job = '/preview/training-jobs/:job';
  return [
    route('GET', '/health', open, () => value({ status: 'ok' })),
    route('GET', '/system-check', open, () =>
      value({ api: 'ok', database: 'ok', cpu_queue: 'ok', gpu_queue: 'ok' }),
    ),
    route('GET', '/preview/base-models', open, () => value(parts.engine.baseModels)),
    route('POST', '/preview/models', bearer, (exchange) => api.createModel(exchange)),
    route('DELETE', model, bearer, (exchange) => api.deleteModel(exchange)),
    route('GET', `${model}/checkpoints`, bearer, (exchange) => api.listCheckpoints(exchange)),
    route('DELETE', `${model}/checkpoints`, bearer, (exchange) => api.deleteCheckpoints(exchange)),
    route('POST', `${model}/log`, bearer, (exchange) => api.log(exchange)),
    route('POST', '/preview/training-jobs', bearer, (exchange) => api.startRl(exchange)),
    route('POST', '/preview/sft-training-jobs', bearer, (exchange) => api.startSft(exchange)),
    route('GET', job, bearer, (exchange) => api.getJob(exchange)),
    route('GET', `${job}/events`, bearer, (exchange) => api.events(exchange)),
  ];
}

class TrainingApi {
  readonly #parts: TrainingApiParts;

  constructor(parts: TrainingApiParts) {
    this.#parts = parts;
  }

  async createModel(exchange: Exchange): Promise<Answer> {
    const { state, engine, artifacts, entity: ownEntity } = this.#parts;
    const wanted = check(createModel, exchange.json());
    const entity = wanted.entity ?? ownEntity;
    if (entity !== ownEntity) throw new HttpError(403, `The key has no access to the entity ${entity}.`);
    if (!engine.baseModels.includes(wanted.base_model))
      throw new HttpError(400, `The base model ${wanted.base_model} is not supported.`);
    const found = state.tables.models.find(
      (one) => one.entity === entity && one.project === wanted.project && one.name === wanted.name,
    );
    if (found !== undefined) {
      if (!wanted.return_existing) throw new HttpError(409, `A model ${wanted.name} exists already.`);
      return value(this.#describe(found));
    }
    const { project, name, base_model } = wanted;
    const identity = await engine.identity();
    const model: ModelRecord = { id: randomUUID(), entity, project, name, base_model, run_id: name };
    state.tables.models.push(model);
    const checkpoint = { id: randomUUID(), modelId: model.id, step: 0, metrics: {}, folder: null };
    state.tables.checkpoints.push({ ...checkpoint, createdAt: 0 });
    if (state.run(entity, project, name) === undefined) {
      const run = { entity, project, name, displayName: name, config: '{}', state: 'finished' };
      state.tables.runs.push({ ...run, summary: '{}', history: [], open: false });
    }
    artifacts.addLora(model, 0, identity);
    state.save();
    return value(this.#describe(model));
  }

  deleteModel(exchange: Exchange): Answer {
    const { state, artifacts } = this.#parts;
    const model = this.#model(exchange);
    const checkpoints = state.checkpoints(model.id);
    state.tables.models = state.tables.models.filter((one) => one !== model);
    state.tables.checkpoints = state.tables.checkpoints.filter((one) => one.modelId !== model.id);
    const runs = state.tables.runs.length;
    state.tables.runs = state.tables.runs.filter(
      (one) => one.entity !== model.entity || one.project !== model.project || one.name !== model.run_id,
    );
    artifacts.delete((one) => this.#isOf(model, one));
    const deletedRun = state.tables.runs.length < runs;
    return value({ model_id: model.id, deleted_checkpoints: checkpoints.length, deleted_run: deletedRun });
  }

  listCheckpoints(exchange: Exchange): Answer {
    const items = this.#visible(this.#model(exchange)).map(({ id, step, metrics }) => ({
      id,
      step,
      metrics,
    }));
    return value(paginate(items, exchange.query));
  }

  deleteCheckpoints(exchange: Exchange): Answer {
    const { state, artifacts } = this.#parts;
    const model = this.#model(exchange);
    const { steps } = check(deleteCheckpoints, exchange.json());
    const known = new Set(state.checkpoints(model.id).map((one) => one.step));
    const gone = new Set(steps.filter((step) => known.has(step)));
    state.tables.checkpoints = state.tables.checkpoints.filter(
      (one) => one.modelId !== model.id || !gone.has(one.step),
    );
    artifacts.delete(
      (one) =>
        this.#isOf(model, one) && one.aliases.some((alias) => gone.has(Number(alias.replace(/^step/, '')))),
    );
    return value({ deleted_count: gone.size, not_found_steps: steps.filter((step) => !known.has(step)) });
  }

  log(exchange: Exchange): Answer {
    this.#model(exchange);
    check(logGroups, exchange.json());
    return value({});
  }

  startRl(exchange: Exchange): Answer {
    const body = check(rlJob, exchange.json());
    const model = this.#modelById(body.model_id);
    const config = body.experimental_config ?? {};
    checkConfig(config);
    return value({
      id: this.#parts.jobs.start(model, { kind: 'rl', groups: body.trajectory_groups, config }),
    });
  }

  startSft(exchange: Exchange): Answer {
    const request = check(sftJob, exchange.json());
    const model = this.#modelById(request.model_id);
    if (!request.training_data_url.startsWith('wandb-artifact:///'))
      throw new HttpError(400, 'training_data_url must be a wandb-artifact:/// URL.');
    const run = this.#parts.state.run(model.entity, model.project, model.run_id);
    // The service resumes the run of the upload, which must be there and closed (§6).
    if (run === undefined) throw new HttpError(400, `The run ${model.run_id} does not exist.`);
    if (run.open) throw new HttpError(400, `The run ${model.run_id} is still open.`);
    return value({ id: this.#parts.jobs.start(model, { kind: 'sft', request }) });
  }

  getJob(exchange: Exchange): Answer {
    const { id, status } = this.#job(exchange);
    return value({ id, status });
  }

  events(exchange: Exchange): Answer {
    const { jobs, behaviour } = this.#parts;
    const id = exchange.parameters['job'] ?? '';
    if (behaviour.unknownJob === 'empty' && jobs.get(id) === undefined)
      return value(paginate([], new URLSearchParams()));
    const { events } = this.#job(exchange);
    const page = paginate(events, exchange.query) as { readonly data: readonly object[] };
    const started = events.find((one) => one.type === 'training_started');
    if (!behaviour.repeatStarted || started === undefined || page.data.includes(started)) return value(page);
    return value({ ...page, data: [started, ...page.data] });
  }

  #describe(model: ModelRecord): object {
    const { run_id: runId, ...others } = model;
    return this.#parts.behaviour.withoutRunId ? others : { ...others, run_id: runId };
  }

  #visible(model: ModelRecord): CheckpointRecord[] {
    const { state, behaviour } = this.#parts;
    const now = Date.now();
    return state
      .checkpoints(model.id)
      .filter((one) => one.step === 0 || now - one.createdAt >= behaviour.checkpointLagMs);
  }

  #isOf(
    model: ModelRecord,
    one: { entity: string; project: string; collection: string; type: string },
  ): boolean {
    const { entity, project, name } = model;
    return one.entity === entity && one.project === project && one.collection === name && one.type === 'lora';
  }

  #model(exchange: Exchange): ModelRecord {
    return this.#modelById(exchange.parameters['model'] ?? '');
  }

  #modelById(id: string): ModelRecord {
    const model = this.#parts.state.model(id);
    if (model === undefined) throw new HttpError(404, `Model ${id} not found`);
    return model;
  }

  #job(exchange: Exchange) {
    const id = exchange.parameters['job'] ?? '';
    const job = this.#parts.jobs.get(id);
    if (job === undefined) throw new HttpError(404, `Training job ${id} not found`);
    return job;
  }
}

function value(json: unknown): Answer {
  return { kind: 'json', value: json };
}
