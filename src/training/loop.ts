/**
 * The step loop: rollouts on the served policy → rewards → groups → rows → training → verified swap. Everything that a
 * restart needs is in the store before the job starts, so that a step is redone exactly once.
 */
import { AbortedError, TrainingFailedError } from '../errors.ts';
import type { Scenario } from '../rewards/reward.ts';
import { weightedSum, type Scorer } from '../rewards/scorer.ts';
import { countMismatchedTokens } from '../trajectory/rows.ts';
import { evaluate } from './evaluation.ts';
import type { TrainEvent } from './events.ts';
import { RolloutLedger } from './rollouts/ledger.ts';
import type { LiveMeans, RolloutLimits } from './rollouts/rollout.ts';
import { runRollouts, type RolloutsResult } from './rollouts/run-rollouts.ts';
import { parseTrainOptions, type RolloutProgress, type TrainNumbers, type TrainOptions } from './settings.ts';
import { StepTrainer, type TrainerParts } from './step-trainer.ts';
import { drawTasks } from './steps.ts';

/** Draws without any signal in a row, after which training stops with an error. */
const maximumEmptyDraws = 5;

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
  readonly #evaluationScorer: Scorer<S, R>;
  /** Rollouts of an earlier call do not count here where they were not meant to. */
  readonly #mark: string;
  /** Of this call. */
  #spent = { tokens: 0, usd: 0 };
  readonly #trainer: StepTrainer;
  /** Runs of rollouts of the step that is under way: until it is published, a restart counts on them. */
  readonly #runs: string[] = [];

  constructor(parts: TrainerParts, options: TrainOptions<S, R>) {
    this.#parts = parts;
    this.#options = options;
    this.#numbers = parseTrainOptions(options);
    const { loss, optimizer, lora, signal, onProgress } = options;
    const { scaleByStandardDeviation } = this.#numbers;
    this.#trainer = new StepTrainer(parts, {
      scaleByStandardDeviation,
      signal,
      onProgress,
      ...(loss === undefined ? {} : { loss }),
      ...(optimizer === undefined ? {} : { optimizer }),
      ...(lora === undefined ? {} : { lora }),
    });
    this.#scorer = weightedSum(options.rewards);
    this.#evaluationScorer =
      options.evaluationRewards === undefined ? this.#scorer : weightedSum(options.evaluationRewards);
    this.#mark = options.reuseRollouts === false ? String(parts.now()) : 'kept';
  }

  async *run(): AsyncGenerator<TrainEvent, void, void> {
    const resumed = await this.#trainer.resume();
    if (resumed !== undefined) yield resumed;
    if (yield* this.#evaluate('before')) return;
    let emptyDraws = 0;
    let round = 0;
    while (this.#trainer.step < this.#numbers.steps) {
      this.#throwIfAborted();
      const report = await this.#oneStep(round);
      round = report.type === 'step' ? 0 : round + 1;
      yield report;
      if (report.type === 'stopped') return;
      if (report.type === 'step') {
        emptyDraws = 0;
        const every = this.#numbers.evaluateEvery;
        if (every > 0 && report.step % every === 0 && report.step < this.#numbers.steps)
          if (yield* this.#evaluate('during')) return;
      } else if (++emptyDraws === maximumEmptyDraws) {
        // Another reward, or another model, must find other rollouts.
        await this.#forgetRuns();
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

  #throwIfAborted(): void {
    if (this.#options.signal?.aborted === true)
      throw new AbortedError('Training', this.#options.signal.reason);
  }

  #progress(stage: RolloutProgress['stage']): (done: number, of: number, live?: LiveMeans) => void {
    return (done, of, live) =>
      this.#options.onProgress?.({
        stage,
        step: this.#trainer.step,
        done,
        of,
        ...(live === undefined ? {} : { live }),
      });
  }

  async #forgetRuns(): Promise<void> {
    for (const runId of this.#runs.splice(0)) await this.#parts.store.forgetRollouts(runId);
  }

  #ledger(runId: string): RolloutLedger {
    const { store, sink } = this.#parts;
    return new RolloutLedger({ runId, store, sink });
  }

  /** With what is left of the budget. */
  get #limits(): RolloutLimits<S> {
    const { budget, ...limits } = this.#options.limits ?? {};
    if (budget === undefined) return limits;
    const { tokens, usd } = budget;
    return {
      ...limits,
      budget: {
        ...(tokens === undefined ? {} : { tokens: tokens - this.#spent.tokens }),
        ...(usd === undefined ? {} : { usd: usd - this.#spent.usd }),
      },
    };
  }

  #count({ live, remaining }: RolloutsResult): Extract<TrainEvent, { type: 'stopped' }> {
    const { tokens, usd } = live.spent;
    this.#spent = { tokens: this.#spent.tokens + tokens, usd: this.#spent.usd + usd };
    return { type: 'stopped', reason: 'budget', step: this.#trainer.step, remaining, spent: this.#spent };
  }

  /** Gives whether the budget ended it. */
  async *#evaluate(label: string): AsyncGenerator<TrainEvent, boolean, void> {
    const scenarios = this.#options.heldOut ?? [];
    if (scenarios.length === 0) return false;
    const { recorder, project, name, store, now } = this.#parts;
    const scorer = this.#evaluationScorer;
    const runId = `${project}/${name}/${label}/${String(this.#trainer.step)}/${scorer.fingerprint}/${this.#mark}`;
    const { evaluation, result } = await this.#trainer.onPolicy(() =>
      evaluate({
        label: runId,
        scenarios,
        rollout: this.#options.rollout,
        scorer,
        successAt: this.#numbers.successAt,
        split: 'test',
        recorder,
        ledger: this.#ledger(runId),
        limits: this.#limits,
        signal: this.#options.signal,
        onFinished: this.#progress('evaluation'),
        now,
      }),
    );
    const stopped = this.#count(result);
    if (evaluation === null) {
      yield stopped;
      return true;
    }
    // Whole evaluations are not resumed: the next one is made anew.
    await store.forgetRollouts(runId);
    yield { type: 'evaluation', step: this.#trainer.step, evaluation };
    return false;
  }

  async #oneStep(round: number): Promise<Extract<TrainEvent, { type: 'step' | 'no-signal' | 'stopped' }>> {
    const { recorder, project, name, now } = this.#parts;
    const step = this.#trainer.step + 1;
    const startedAt = performance.now();
    const label = `${project}/${name}/${String(step)}/${String(round)}`;
    const runId = [label, this.#scorer.fingerprint, this.#mark, await this.#trainer.failedJob(step)].join(
      '/',
    );
    this.#runs.push(runId);
    const tasks = drawTasks({
      scenarios: this.#options.scenarios,
      groups: this.#numbers.groupsPerStep,
      groupSize: this.#numbers.groupSize,
      label,
      runId,
      seed: this.#numbers.seed,
    });
    const result = await this.#trainer.onPolicy(() =>
      runRollouts({
        tasks,
        split: 'train',
        rollout: this.#options.rollout,
        scorer: this.#scorer,
        recorder,
        ledger: this.#ledger(runId),
        limits: this.#limits,
        signal: this.#options.signal,
        onFinished: this.#progress('rollout'),
        afterEach: this.#options.afterEach,
        now,
      }),
    );
    const stopped = this.#count(result);
    if (result.stopped !== undefined) return stopped;
    const { rollouts } = result;
    const totals = rollouts.flatMap((one) => (one.score.status === 'scored' ? [one.score.total] : []));
    const meanReward = totals.reduce((sum, total) => sum + total, 0) / Math.max(1, totals.length);
    const batch = await this.#trainer.batch(rollouts.map((one) => one.trajectory.id));
    if (batch.rows.length === 0) {
      return { type: 'no-signal', step: this.#trainer.step, meanReward, groups: batch.groups };
    }
    this.#throwIfAborted();
    const rolloutSeconds = (performance.now() - startedAt) / 1000;
    const trained = await this.#trainer.train(batch);
    await this.#forgetRuns();
    const recorded = [...rollouts.map((one) => one.trajectory), ...batch.children];
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
}
