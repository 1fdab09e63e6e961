/**
 * Rollouts: the user's agent, run on scenarios, many at a time, each within a time limit. A bad rollout is data, not a
 * crash; only when more fail than the error budget allows does the whole batch stop. A batch that was killed goes on.
 */
import type { Recorder } from '../../capture/recorder.ts';
import { AbortedError, RolloutBudgetExceededError } from '../../errors.ts';
import type { Scenario } from '../../rewards/reward.ts';
import type { PartialScore } from '../../rewards/score.ts';
import type { Scorer } from '../../rewards/scorer.ts';
import type { Split, Trajectory } from '../../trajectory/records.ts';
import { componentRecords, scoreRecords } from '../reward-records.ts';
import { HostGates, pause } from './hosts.ts';
import type { RolloutLedger } from './ledger.ts';
import { tryOnce, type Tried } from './one-try.ts';
import { classifyFailure, defaultTries, retryDelay, type FailureClass } from './retry.ts';
import {
  defaultLimits,
  type FinishedGroup,
  type FinishedRollout,
  type LiveMeans,
  type Rollout,
  type RolloutLimits,
  type RolloutTask,
  type UnscoredRollout,
} from './rollout.ts';
import { spentOn, Tally } from './tally.ts';

/**
 * Called with each group once it is complete. Giving (a promise of) `'drop'` leaves the group without scores; anything
 * else keeps it.
 */
export type AfterEach = (group: FinishedGroup) => unknown;

export interface RolloutBatch<S extends Scenario, R> {
  readonly tasks: readonly RolloutTask<S>[];
  readonly split: Split;
  readonly rollout: Rollout<S, R>;
  readonly scorer: Scorer<S, R>;
  readonly recorder: Recorder;
  readonly ledger: RolloutLedger;
  readonly limits: RolloutLimits<S>;
  readonly signal: AbortSignal | undefined;
  readonly onFinished: (done: number, of: number, live: LiveMeans) => void;
  readonly afterEach?: AfterEach | undefined;
  readonly now: () => number;
}

export interface RolloutsResult {
  /** Of complete groups, in the order of the tasks. */
  readonly rollouts: readonly FinishedRollout[];
  /** Why not all tasks are done; undefined where they are. Start the same run again to go on. */
  readonly stopped: 'budget' | undefined;
  /** Tasks that are left to do. */
  readonly remaining: number;
  readonly live: LiveMeans;
}

/** Runs what is not done yet. Throws RolloutBudgetExceededError, AbortedError, JudgeBudgetExceededError, StoreError. */
export async function runRollouts<S extends Scenario, R>(batch: RolloutBatch<S, R>): Promise<RolloutsResult> {
  return new Batch(batch).run();
}

class Batch<S extends Scenario, R> {
  readonly #batch: RolloutBatch<S, R>;
  readonly #limits: RolloutLimits<S> & typeof defaultLimits;
  readonly #gates: HostGates;
  readonly #tally: Tally;
  readonly #stop = new AbortController();
  /** Ends with the caller's signal, and when the batch is given up: agents still running hear of it. */
  readonly #signal: AbortSignal;
  readonly #groups: ReadonlyMap<string, readonly RolloutTask<S>[]>;
  readonly #unscored = new Map<string, UnscoredRollout[]>();
  readonly #finished = new Map<string, FinishedRollout>();
  /** Failures stand in the ledger only once the batch holds: one that is given up tries them again. */
  readonly #failures: UnscoredRollout[] = [];
  readonly #spent = new Map<string, { readonly tokens: number; readonly usd: number }>();

  constructor(batch: RolloutBatch<S, R>) {
    this.#batch = batch;
    this.#limits = { ...defaultLimits, ...batch.limits } as RolloutLimits<S> & typeof defaultLimits;
    const { concurrency, hosts } = this.#limits;
    this.#gates = new HostGates({ concurrency, perHost: hosts?.concurrency ?? Infinity });
    this.#tally = new Tally(this.#limits.budget);
    this.#signal =
      batch.signal === undefined ? this.#stop.signal : AbortSignal.any([this.#stop.signal, batch.signal]);
    this.#groups = Map.groupBy(batch.tasks, (task) => task.groupId);
  }

  async run(): Promise<RolloutsResult> {
    const { tasks, ledger, scorer } = this.#batch;
    const done = await ledger.resume(scorer.terms);
    for (const { record } of done.values()) this.#tally.spend(record);
    try {
      await Promise.all(
        tasks.map(async (task) => {
          const earlier = done.get(taskId(task));
          if (earlier !== undefined) {
            const { record, found } = earlier;
            await this.#note(task, { ...identity(task), ...found, tries: record.tries, resumed: true });
            return;
          }
          await this.#gates.run(this.#hostOf(task), this.#signal, () => this.#do(task));
        }),
      );
      this.#throwIfAborted();
    } catch (error) {
      this.#stop.abort(error);
      // What is done stays done. A store that fails as well is the smaller news.
      await ledger.drain().catch(() => undefined);
      throw error;
    }
    for (const one of this.#failures) this.#record(one);
    await ledger.drain();
    const rollouts = tasks.flatMap((task) => this.#finished.get(taskId(task)) ?? []);
    const remaining = tasks.length - this.#tally.means().finished;
    return {
      rollouts,
      remaining,
      stopped: remaining > 0 ? 'budget' : undefined,
      live: this.#tally.means(),
    };
  }

  async #do(task: RolloutTask<S>): Promise<void> {
    this.#throwIfAborted();
    this.#batch.ledger.check();
    if (this.#tally.isSpent) return;
    const { tried, tries } = await this.#tryUntilSettled(task);
    this.#throwIfAborted();
    const partial = await this.#partial(task, tried);
    await this.#note(task, {
      ...identity(task),
      trajectory: tried.trajectory,
      tries,
      resumed: false,
      partial,
    });
  }

  async #tryUntilSettled(
    task: RolloutTask<S>,
  ): Promise<{ readonly tried: Tried<R>; readonly tries: number }> {
    const { split, rollout, recorder } = this.#batch;
    const { timeoutMs, retry = {} } = this.#limits;
    const tries = { ...defaultTries, ...retry.tries };
    for (let count = 1; ; count += 1) {
      const tried = await tryOnce({ task, split, rollout, recorder, timeoutMs, signal: this.#signal });
      this.#spend(task, tried.trajectory);
      if (tried.status === 'finished' || tried.status === 'aborted') return { tried, tries: count };
      const error = tried.status === 'failed' ? tried.error : undefined;
      const kind: FailureClass =
        tried.status === 'timed-out' ? 'timed-out' : classifyFailure(error, retry.classify);
      if (count >= tries[kind] || this.#tally.isSpent) return { tried, tries: count };
      const wait = retryDelay(error, count, { ...retry, seed: hash(taskId(task)) });
      // A host that is over its limit gets no new rollouts meanwhile, or the storm feeds itself.
      if (kind === 'rate-limited') this.#gates.pause(this.#hostOf(task), wait);
      await pause(wait, this.#signal);
    }
  }

  async #partial(task: RolloutTask<S>, tried: Tried<R>): Promise<PartialScore> {
    if (tried.status !== 'finished') {
      const error = tried.status === 'failed' ? `: ${String(tried.error)}` : '';
      return { components: [], failure: `rollout ${tried.status}${error}` };
    }
    const { scenario } = task;
    const { trajectory, result } = tried;
    return this.#batch.scorer.score({ scenario, result, trajectory, signal: this.#signal });
  }

  /** A rollout is done: write it down, and judge its group where that is complete now. */
  async #note(task: RolloutTask<S>, done: UnscoredRollout): Promise<void> {
    const { tasks, onFinished, limits } = this.#batch;
    this.#tally.done(done);
    const failed = done.trajectory.outcome.status !== 'finished';
    if (!done.resumed && !failed) this.#record(done);
    if (!done.resumed && failed) this.#failures.push(done);
    const budget = limits.errorBudget ?? defaultLimits.errorBudget;
    if (failed && this.#tally.failed > Math.floor(budget * tasks.length))
      throw budgetExceeded(done.trajectory.outcome, this.#tally.failed, tasks.length);
    const members = [...(this.#unscored.get(task.groupId) ?? []), done];
    this.#unscored.set(task.groupId, members);
    if (members.length === this.#groups.get(task.groupId)?.length) await this.#judge(task.scenario, members);
    const live = this.#tally.means();
    onFinished(live.finished, tasks.length, live);
  }

  async #judge(scenario: S, given: readonly UnscoredRollout[]): Promise<void> {
    const { scorer, ledger, afterEach, now } = this.#batch;
    const members = given.toSorted((a, b) => a.attempt - b.attempt);
    const trajectories = members.map((one) => one.trajectory);
    const scores = await scorer.scoreGroup(
      { scenario, trajectories, signal: this.#signal },
      members.map((one) => one.partial),
    );
    const rollouts = members.map(({ partial, ...rest }, index): FinishedRollout => ({
      ...rest,
      score: scores[index] ?? { status: 'missing', reason: 'not scored', components: partial.components },
    }));
    const { groupId, scenarioId } = members[0] ?? { groupId: '', scenarioId: scenario.id };
    const verdict = await afterEach?.({ groupId, scenarioId, rollouts });
    const kept = verdict === 'drop' ? rollouts.map(dropped) : rollouts;
    for (const rollout of kept) {
      this.#finished.set(`${scenario.id}/${String(rollout.attempt)}`, rollout);
      this.#tally.scored(rollout);
    }
    // In one piece: half of a group's scores would be worse than none.
    ledger.add({
      rewards: kept.flatMap(({ trajectory, score }) => scoreRecords(trajectory, score, now())),
    });
  }

  #record(done: UnscoredRollout): void {
    const { ledger, now } = this.#batch;
    const id = `${done.scenarioId}/${String(done.attempt)}`;
    const { trajectory, partial, tries } = done;
    ledger.add({
      rewards: componentRecords(trajectory, partial.components, now()),
      record: {
        runId: ledger.runId,
        taskId: id,
        trajectoryId: trajectory.id,
        tries,
        failure: partial.failure ?? null,
        ...(this.#spent.get(id) ?? { tokens: 0, usd: 0 }),
        finishedAt: now(),
      },
    });
  }

  #spend(task: RolloutTask<S>, trajectory: Trajectory): void {
    const spent = spentOn(trajectory);
    this.#tally.spend(spent);
    const before = this.#spent.get(taskId(task)) ?? { tokens: 0, usd: 0 };
    this.#spent.set(taskId(task), { tokens: before.tokens + spent.tokens, usd: before.usd + spent.usd });
  }

  #hostOf({ scenario }: RolloutTask<S>): string {
    return this.#limits.hosts?.of(scenario) ?? '';
  }

  #throwIfAborted(): void {
    if (this.#batch.signal?.aborted === true)
      throw new AbortedError('The batch of rollouts', this.#batch.signal.reason);
    if (this.#stop.signal.aborted) throw this.#stop.signal.reason as Error;
  }
}

function taskId({ scenario, attempt }: RolloutTask<Scenario>): string {
  return `${scenario.id}/${String(attempt)}`;
}

function identity({ scenario, groupId, attempt }: RolloutTask<Scenario>) {
  return { groupId, scenarioId: scenario.id, attempt };
}

function dropped(rollout: FinishedRollout): FinishedRollout {
  const { components } = rollout.score;
  return { ...rollout, score: { status: 'missing', reason: 'dropped by afterEach', components } };
}

/** A small number from a text, for jitter (FNV-1a, 32 bits). */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1)
    value = Math.imul(value ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return value;
}

function budgetExceeded(
  outcome: Trajectory['outcome'],
  failures: number,
  of: number,
): RolloutBudgetExceededError {
  const last =
    outcome.status === 'failed' ? `${outcome.error.name}: ${outcome.error.message}` : outcome.status;
  return new RolloutBudgetExceededError(
    `${String(failures)} of ${String(of)} rollouts failed; the last one: ${last}.`,
    { fix: 'Mend the rollout function, or raise `limits.errorBudget` where such failures are expected.' },
  );
}
