/**
 * One training step on trajectories that are in the store: groups → rows → job → verified swap, and the ledger of steps
 * that lets a restart redo an interrupted one exactly once. Whoever collects the trajectories calls it.
 */
import type { TrajectorySink } from '../capture/capture.ts';
import type { Recorder } from '../capture/recorder.ts';
import type {
  AdapterRef,
  CanaryReport,
  PolicyTarget,
  RunningBackend,
  TrainingJob,
  TrainingSettings,
} from '../backends/backend.ts';
import { StoreError, TrainingFailedError } from '../errors.ts';
import type { PolicyRouter } from '../policy/router.ts';
import type { Store, TrainingStepRecord } from '../store/store.ts';
import { policyId } from '../trajectory/ids.ts';
import type { Trajectory } from '../trajectory/records.ts';
import type { StepReport, TrainEvent } from './events.ts';
import { callTotalsOf, totalOf } from './reward-records.ts';
import type { RolloutProgress } from './settings.ts';
import { buildBatch, jobIdFor, type Batch, type JudgedTrajectory } from './steps.ts';

export interface TrainerParts {
  readonly project: string;
  readonly name: string;
  readonly store: Store;
  readonly sink: TrajectorySink;
  readonly recorder: Recorder;
  readonly router: PolicyRouter;
  readonly backend: RunningBackend;
  readonly now: () => number;
}

export interface StepSettings extends Omit<TrainingSettings, 'advantages'> {
  readonly scaleByStandardDeviation: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: RolloutProgress) => void) | undefined;
}

export type TrainedStep = Pick<StepReport, 'adapter' | 'canary' | 'metrics' | 'logprobGap'> & {
  readonly seconds: { readonly training: number; readonly swap: number };
};

type Judgements = NonNullable<TrainingStepRecord['judgements']>;
type Resumed = Extract<TrainEvent, { type: 'resumed' }>;

/** Published steps that stay served, for requests that began on them. */
const keptSteps = 2;

/**
 * The step to go on from: the last published one, or a later one that only the backend knows, because the store is new
 * or another host trained it. A step whose job was interrupted is not taken: it is redone, by its job's id.
 */
function adapterToServe(
  steps: readonly TrainingStepRecord[],
  adapters: readonly AdapterRef[],
): AdapterRef | undefined {
  const published = steps.filter((step) => step.state === 'published').map((one) => one.step);
  const interrupted = steps.find((one) => one.state === 'training')?.step ?? Infinity;
  const last = published.length === 0 ? 0 : Math.max(...published);
  const found = adapters.filter((one) => one.step >= Math.max(1, last) && one.step < interrupted).at(-1);
  if (found === undefined && last > 0) {
    throw new TrainingFailedError(`The weights of step ${String(last)}, the last published one, are gone.`, {
      fix: 'Restore them from a copy, or train under another name.',
    });
  }
  return found;
}

function canaryMetrics(canary: CanaryReport): Record<string, number> {
  switch (canary.against) {
    case 'trainer':
      return { canaryMeanGap: canary.meanGap, canaryMaxGap: canary.maxGap };
    case 'base':
      return { canaryBaseGap: canary.baseGap };
    default:
      return canary satisfies never;
  }
}

export class StepTrainer {
  readonly #parts: TrainerParts;
  readonly #settings: StepSettings;
  /** The adapter that is served; null: the base model, step 0. */
  #current: AdapterRef | null = null;

  constructor(parts: TrainerParts, settings: StepSettings) {
    this.#parts = parts;
    this.#settings = settings;
  }

  get step(): number {
    return this.#current?.step ?? 0;
  }

  get policy(): string {
    return this.#current === null ? 'base' : policyId({ name: this.#parts.name, step: this.#current.step });
  }

  get target(): PolicyTarget {
    return this.#current ?? 'base';
  }

  /** Serves the last published step; redoes a step that a crash interrupted, on the trajectories it had. */
  async resume(): Promise<Resumed | undefined> {
    const { store, project, name } = this.#parts;
    const steps = await store.steps(project, name);
    const adapters = await this.#parts.backend.adapters();
    const last = adapterToServe(steps, adapters);
    if (last !== undefined) {
      await this.#parts.backend.publish(last);
      this.#current = last;
    }
    const interrupted = steps.find((step) => step.state === 'training' && step.step === this.step + 1);
    if (interrupted !== undefined) await this.#redo(interrupted);
    if (last === undefined && interrupted === undefined) return undefined;
    return { type: 'resumed', step: this.step, redone: interrupted !== undefined };
  }

  async #redo(interrupted: TrainingStepRecord): Promise<void> {
    const { project, name, store } = this.#parts;
    const batch = await this.batch(interrupted.trajectoryIds, interrupted.judgements);
    if (batch.rows.length === 0) {
      await store.endStep({
        project,
        name,
        step: interrupted.step,
        state: 'failed',
        adapterLocation: null,
        metrics: {},
      });
      return;
    }
    await this.#execute(batch, interrupted.step, interrupted.jobId);
  }

  /** Trains the batch into the next step and serves that. Throws TrainingFailedError, AdapterRefusedError, StoreError. */
  async train(batch: Batch, judgements?: Judgements): Promise<TrainedStep> {
    const { project, name, store, now } = this.#parts;
    const { trajectoryIds } = batch;
    const step = this.step + 1;
    const jobId = jobIdFor({ name, step, trajectoryIds });
    await store.beginStep({
      project,
      name,
      step,
      jobId,
      trajectoryIds,
      ...(judgements === undefined ? {} : { judgements }),
      createdAt: now(),
    });
    return this.#execute(batch, step, jobId);
  }

  /** A step that failed is not tried again on the rollouts that it failed on. */
  async failedJob(step: number): Promise<string> {
    const { store, project, name } = this.#parts;
    const failed = (await store.steps(project, name)).find(
      (one) => one.step === step && one.state === 'failed',
    );
    return failed?.jobId ?? 'first';
  }

  /** Runs `start` so that the agents in it are answered by the policy that is served now. */
  onPolicy<T>(start: () => T): T {
    const { router, backend } = this.#parts;
    const target = this.target;
    const endpoint = (signal?: AbortSignal) => backend.endpoint(target, signal);
    return router.pin(
      { kind: 'policy', policy: this.policy, step: this.step, propensity: 1, endpoint, onFailure: 'throw' },
      start,
    );
  }

  async #execute(batch: Batch, step: number, jobId: string): Promise<TrainedStep> {
    const { project, name, store, backend } = this.#parts;
    const { loss, optimizer, lora, signal } = this.#settings;
    const job: TrainingJob = {
      jobId,
      name,
      step,
      parent: this.#current,
      groups: batch.signal,
      advantages: { scaleByStandardDeviation: this.#settings.scaleByStandardDeviation },
      ...(loss === undefined ? {} : { loss }),
      ...(optimizer === undefined ? {} : { optimizer }),
      ...(lora === undefined ? {} : { lora }),
    };
    const startedAt = performance.now();
    const trained = await this.#runJob(job, signal);
    const trainedAt = performance.now();
    this.#progress('swap', 0, 1);
    const canary = await backend.publish(trained.adapter);
    const previous = this.step;
    this.#current = trained.adapter;
    const metrics = { ...trained.metrics, ...canaryMetrics(canary) };
    await store.endStep({
      project,
      name,
      step,
      state: 'published',
      adapterLocation: trained.adapter.location,
      metrics,
    });
    if (previous - keptSteps >= 1) await backend.retire({ name, step: previous - keptSteps });
    const seconds = {
      training: (trainedAt - startedAt) / 1000,
      swap: (performance.now() - trainedAt) / 1000,
    };
    return { ...trained, canary, metrics, seconds };
  }

  async #runJob(
    job: TrainingJob,
    signal: AbortSignal | undefined,
  ): Promise<Pick<StepReport, 'adapter' | 'metrics' | 'logprobGap'>> {
    let logprobGap: StepReport['logprobGap'] = null;
    try {
      for await (const event of this.#parts.backend.train(job, signal)) {
        switch (event.type) {
          case 'started':
            this.#progress('training', 0, 1);
            break;
          case 'gradient-step': {
            const { logprob_gap_mean: mean, logprob_gap_max: max } = event.metrics;
            if (event.index <= 1 && mean !== undefined && max !== undefined) logprobGap = { mean, max };
            this.#progress('training', event.index, event.of);
            break;
          }
          case 'ended':
            return { adapter: event.adapter, metrics: event.metrics, logprobGap };
          default:
            event satisfies never;
        }
      }
    } catch (error) {
      const { project, store } = this.#parts;
      if (error instanceof TrainingFailedError) {
        await store.endStep({
          project,
          name: job.name,
          step: job.step,
          state: 'failed',
          adapterLocation: null,
          metrics: {},
        });
      }
      throw error;
    }
    throw new TrainingFailedError(`Job ${job.jobId} ended without a result.`, {
      fix: 'Look at the log of the backend; start training again to resume.',
    });
  }

  /** Rows are built from what the store holds, never from memory: a restart then builds the very same ones. */
  async batch(ids: readonly string[], judgements: Judgements = {}): Promise<Batch> {
    const judged = await Promise.all(
      ids.map(async (id) => {
        const scored = await this.#parts.store.get(id);
        if (scored === undefined) {
          throw new StoreError(`Trajectory ${id} is not in the store any more.`, {
            fix: 'Delete this training step, or restore the store from a copy.',
          });
        }
        const { trajectory, rewards } = scored;
        // A step that is redone knows all its trajectories; those of sub-agents come with their parents.
        if (trajectory.parentId !== undefined && ids.includes(trajectory.parentId)) return [];
        const one: JudgedTrajectory = {
          groupId: judgements[id]?.groupId ?? trajectory.groupId ?? trajectory.id,
          trajectory,
          total: judgements[id]?.total ?? totalOf(rewards),
          callTotals: callTotalsOf(rewards),
          children: await this.#children(id),
        };
        return [one];
      }),
    );
    const { identity } = await this.#parts.backend.endpoint(this.target, this.#settings.signal);
    return buildBatch(judged.flat(), {
      scaleByStandardDeviation: this.#settings.scaleByStandardDeviation,
      ...(identity.contextLength === undefined ? {} : { maxTokens: identity.contextLength }),
    });
  }

  /** The runs of its sub-agents, and of theirs. */
  async #children(id: string): Promise<Trajectory[]> {
    const own = await this.#parts.store.find({ parentId: id });
    const below = await Promise.all(own.map(({ trajectory }) => this.#children(trajectory.id)));
    return [...own.map(({ trajectory }) => trajectory), ...below.flat()];
  }

  #progress(stage: RolloutProgress['stage'], done: number, of: number): void {
    this.#settings.onProgress?.({ stage, step: this.step, done, of });
  }
}
