/**
 * The step loop: rollouts on the served policy → rewards → groups → rows → training → verified swap. Everything that a
 * restart needs is in the store before the job starts, so that a step is redone exactly once.
 */
import type { Recorder } from '../capture/recorder.ts';
import type { TrajectorySink } from '../capture/capture.ts';
import type {
  AdapterRef,
  CanaryReport,
  PolicyTarget,
  RunningBackend,
  TrainingJob,
} from '../backends/backend.ts';
import { AbortedError, StoreError, TrainingFailedError } from '../errors.ts';
import type { PolicyRouter } from '../policy/router.ts';
import type { Scenario } from '../rewards/reward.ts';
import { weightedSum, type Scorer } from '../rewards/score.ts';
import type { Store, TrainingStepRecord } from '../store/store.ts';
import { policyId } from '../trajectory/ids.ts';
import type { Trajectory } from '../trajectory/records.ts';
import { countMismatchedTokens } from '../trajectory/rows.ts';
import { evaluate, type Evaluation } from './evaluation.ts';
import { rewardRecords, totalOf } from './reward-records.ts';
import { runRollouts, type FinishedRollout } from './rollouts.ts';
import { parseTrainOptions, type RolloutProgress, type TrainNumbers, type TrainOptions } from './settings.ts';
import { buildBatch, drawTasks, jobIdFor, type Batch } from './steps.ts';

export interface StepReport {
  readonly type: 'step';
  /** The step that is served now. */
  readonly step: number;
  readonly meanReward: number;
  readonly rollouts: number;
  readonly groups: number;
  readonly groupsWithSignal: number;
  readonly trainedTokens: number;
  /** Trained tokens whose id is not the one that was sampled there. */
  readonly mismatchedTokens: number;
  /** |trainer − sampler| in nats over the trained tokens, before the first gradient step; null: the backend tells none. */
  readonly logprobGap: { readonly mean: number; readonly max: number } | null;
  readonly canary: CanaryReport;
  readonly adapter: AdapterRef;
  readonly metrics: Readonly<Record<string, number>>;
  readonly seconds: { readonly rollout: number; readonly training: number; readonly swap: number };
  readonly skipped: Readonly<Record<string, number>>;
}

export type TrainEvent =
  | { readonly type: 'resumed'; readonly step: number; readonly redone: boolean }
  | { readonly type: 'evaluation'; readonly step: number; readonly evaluation: Evaluation }
  /** All groups of a draw had equal rewards: nothing to train on, another draw follows. */
  | {
      readonly type: 'no-signal';
      readonly step: number;
      readonly meanReward: number;
      readonly groups: number;
    }
  | StepReport;

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

/** Draws without any signal in a row, after which training stops with an error. */
const maximumEmptyDraws = 5;
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

/** Trains up to `options.steps`, from the last published step on. */
export async function* train<S extends Scenario, R>(
  parts: TrainerParts,
  options: TrainOptions<S, R>,
): AsyncGenerator<TrainEvent, void, void> {
  const trainer = new Trainer(parts, options);
  yield* trainer.run();
}

class Trainer<S extends Scenario, R> {
  readonly #parts: TrainerParts;
  readonly #options: TrainOptions<S, R>;
  readonly #numbers: TrainNumbers;
  readonly #scorer: Scorer<S, R>;
  /** The adapter that is served; null: the base model, step 0. */
  #current: AdapterRef | null = null;

  constructor(parts: TrainerParts, options: TrainOptions<S, R>) {
    this.#parts = parts;
    this.#options = options;
    this.#numbers = parseTrainOptions(options);
    this.#scorer = weightedSum(options.rewards);
  }

  async *run(): AsyncGenerator<TrainEvent, void, void> {
    yield* this.#resume();
    yield* this.#evaluate('before');
    let emptyDraws = 0;
    let round = 0;
    while (this.#step < this.#numbers.steps) {
      this.#throwIfAborted();
      const report = await this.#oneStep(round);
      round += 1;
      yield report;
      if (report.type === 'step') {
        emptyDraws = 0;
        const every = this.#numbers.evaluateEvery;
        if (every > 0 && report.step % every === 0 && report.step < this.#numbers.steps)
          yield* this.#evaluate('during');
      } else if (++emptyDraws === maximumEmptyDraws) {
        throw new TrainingFailedError(
          `All rewards were equal within their groups, ${String(emptyDraws)} draws in a row.`,
          {
            fix: 'Use scenarios on which the model sometimes succeeds and sometimes fails, or a finer reward.',
          },
        );
      }
    }
    yield* this.#evaluate('after');
  }

  get #step(): number {
    return this.#current?.step ?? 0;
  }

  get #policy(): string {
    return this.#current === null ? 'base' : policyId({ name: this.#parts.name, step: this.#current.step });
  }

  get #target(): PolicyTarget {
    return this.#current ?? 'base';
  }

  #throwIfAborted(): void {
    if (this.#options.signal?.aborted === true)
      throw new AbortedError('Training', this.#options.signal.reason);
  }

  #progress(stage: RolloutProgress['stage']): (done: number, of: number) => void {
    return (done, of) => this.#options.onProgress?.({ stage, step: this.#step, done, of });
  }

  /** Serves the last published step; redoes a step that a crash interrupted, on the trajectories it had. */
  async *#resume(): AsyncGenerator<TrainEvent, void, void> {
    const { store, project, name } = this.#parts;
    const steps = await store.steps(project, name);
    const adapters = await this.#parts.backend.adapters();
    const last = adapterToServe(steps, adapters);
    if (last !== undefined) {
      await this.#parts.backend.publish(last);
      this.#current = last;
    }
    const interrupted = steps.find((step) => step.state === 'training' && step.step === this.#step + 1);
    if (interrupted !== undefined) await this.#redo(interrupted);
    if (last !== undefined || interrupted !== undefined) {
      yield { type: 'resumed', step: this.#step, redone: interrupted !== undefined };
    }
  }

  async #redo(interrupted: TrainingStepRecord): Promise<void> {
    const { project, name, store } = this.#parts;
    const batch = await this.#batchFromStore(interrupted.trajectoryIds);
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
    await this.#trainAndPublish(batch, interrupted.step, interrupted.jobId);
  }

  async *#evaluate(label: string): AsyncGenerator<TrainEvent, void, void> {
    const scenarios = this.#options.heldOut ?? [];
    if (scenarios.length === 0) return;
    const { recorder, sink, project } = this.#parts;
    const { evaluation, rollouts } = await this.#onPolicy(() =>
      evaluate({
        label: `${project}/${label}/${String(this.#step)}`,
        scenarios,
        rollout: this.#options.rollout,
        scorer: this.#scorer,
        successAt: this.#numbers.successAt,
        split: 'test',
        recorder,
        limits: this.#options.limits ?? {},
        signal: this.#options.signal,
        onFinished: this.#progress('evaluation'),
      }),
    );
    for (const reward of this.#rewards(rollouts)) sink.reward(reward);
    yield { type: 'evaluation', step: this.#step, evaluation };
  }

  async #oneStep(round: number): Promise<Extract<TrainEvent, { type: 'step' | 'no-signal' }>> {
    const { recorder, name, now } = this.#parts;
    const step = this.#step + 1;
    const startedAt = performance.now();
    const tasks = drawTasks({
      scenarios: this.#options.scenarios,
      groups: this.#numbers.groupsPerStep,
      groupSize: this.#numbers.groupSize,
      label: `${name}/${String(step)}/${String(now())}-${String(round)}`,
      seed: this.#numbers.seed,
    });
    const rollouts = await this.#onPolicy(() =>
      runRollouts({
        tasks,
        split: 'train',
        rollout: this.#options.rollout,
        scorer: this.#scorer,
        recorder,
        limits: this.#options.limits ?? {},
        signal: this.#options.signal,
        onFinished: this.#progress('rollout'),
      }),
    );
    await this.#persist(rollouts);
    const totals = rollouts.flatMap((one) => (one.score.status === 'scored' ? [one.score.total] : []));
    const meanReward = totals.reduce((sum, total) => sum + total, 0) / Math.max(1, totals.length);
    const batch = await this.#batchFromStore(rollouts.map((one) => one.trajectory.id));
    if (batch.rows.length === 0) {
      return { type: 'no-signal', step: this.#step, meanReward, groups: batch.groups };
    }
    this.#throwIfAborted();
    const rolloutSeconds = (performance.now() - startedAt) / 1000;
    const { trajectoryIds } = batch;
    const jobId = jobIdFor({ name, step, trajectoryIds });
    const { project, store } = this.#parts;
    await store.beginStep({ project, name, step, jobId, trajectoryIds, createdAt: now() });
    const trained = await this.#trainAndPublish(batch, step, jobId);
    const recorded = rollouts.map((one): Trajectory => one.trajectory);
    return {
      type: 'step',
      step,
      meanReward,
      rollouts: rollouts.length,
      groups: batch.groups,
      groupsWithSignal: batch.signal.length,
      trainedTokens: batch.trainedTokens,
      mismatchedTokens: countMismatchedTokens(batch.rows, recorded),
      skipped: batch.skipped,
      ...trained,
      seconds: { rollout: rolloutSeconds, ...trained.seconds },
    };
  }

  async #trainAndPublish(
    batch: Batch,
    step: number,
    jobId: string,
  ): Promise<
    Pick<StepReport, 'adapter' | 'canary' | 'metrics' | 'logprobGap'> & {
      seconds: { training: number; swap: number };
    }
  > {
    const { project, name, store, backend } = this.#parts;
    const { loss, optimizer, lora, signal } = this.#options;
    const job: TrainingJob = {
      jobId,
      name,
      step,
      parent: this.#current,
      groups: batch.signal,
      advantages: { scaleByStandardDeviation: this.#numbers.scaleByStandardDeviation },
      ...(loss === undefined ? {} : { loss }),
      ...(optimizer === undefined ? {} : { optimizer }),
      ...(lora === undefined ? {} : { lora }),
    };
    const startedAt = performance.now();
    const trained = await this.#runJob(job, signal);
    const trainedAt = performance.now();
    this.#progress('swap')(0, 1);
    const canary = await backend.publish(trained.adapter);
    const previous = this.#step;
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
            this.#progress('training')(0, 1);
            break;
          case 'gradient-step': {
            const { logprob_gap_mean: mean, logprob_gap_max: max } = event.metrics;
            if (event.index <= 1 && mean !== undefined && max !== undefined) logprobGap = { mean, max };
            this.#progress('training')(event.index, event.of);
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
  async #batchFromStore(ids: readonly string[]): Promise<Batch> {
    const judged = await Promise.all(
      ids.map(async (id) => {
        const scored = await this.#parts.store.get(id);
        if (scored === undefined) {
          throw new StoreError(`Trajectory ${id} is not in the store any more.`, {
            fix: 'Delete this training step, or restore the store from a copy.',
          });
        }
        const { trajectory, rewards } = scored;
        return { groupId: trajectory.groupId ?? trajectory.id, trajectory, total: totalOf(rewards) };
      }),
    );
    const { identity } = await this.#parts.backend.endpoint(this.#target, this.#options.signal);
    return buildBatch(judged, {
      scaleByStandardDeviation: this.#numbers.scaleByStandardDeviation,
      ...(identity.contextLength === undefined ? {} : { maxTokens: identity.contextLength }),
    });
  }

  async #persist(rollouts: readonly FinishedRollout[]): Promise<void> {
    const { store, sink } = this.#parts;
    const { complete } = await sink.flush({ timeoutMs: 60_000 });
    if (!complete) {
      throw new StoreError('The rollouts could not be written within a minute.', {
        fix: 'Check the disk of the store: free space and speed.',
        retryable: true,
      });
    }
    await store.reward(this.#rewards(rollouts));
  }

  #rewards(rollouts: readonly FinishedRollout[]) {
    return rollouts.flatMap((one) => rewardRecords(one, this.#parts.now()));
  }

  /** Runs `start` so that the agents in it are answered by the policy that is served now. */
  #onPolicy<T>(start: () => T): T {
    const { router, backend } = this.#parts;
    const target = this.#target;
    const endpoint = (signal?: AbortSignal) => backend.endpoint(target, signal);
    return router.pin(
      { kind: 'policy', policy: this.#policy, step: this.#step, propensity: 1, endpoint, onFailure: 'throw' },
      start,
    );
  }
}
