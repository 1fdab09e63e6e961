/** Counts of a batch as it goes: live means, what was spent, and whether that is enough. */
import { totalsOf } from '../../trajectory/views.ts';
import type { Trajectory } from '../../trajectory/records.ts';
import type { FinishedRollout, LiveMeans, RolloutSpending, UnscoredRollout } from './rollout.ts';

class RunningMean {
  #sum = 0;
  #count = 0;

  add(value: number): void {
    this.#sum += value;
    this.#count += 1;
  }

  get mean(): number {
    return this.#count === 0 ? Number.NaN : this.#sum / this.#count;
  }
}

export class Tally {
  readonly #budget: RolloutSpending;
  readonly #reward = new RunningMean();
  readonly #tokens = new RunningMean();
  readonly #seconds = new RunningMean();
  readonly #components = new Map<string, RunningMean>();
  #finished = 0;
  #failed = 0;
  #retries = 0;
  #resumed = 0;
  #spent = { tokens: 0, usd: 0 };

  constructor(budget: RolloutSpending = {}) {
    this.#budget = budget;
  }

  get failed(): number {
    return this.#failed;
  }

  get isSpent(): boolean {
    const { tokens = Infinity, usd = Infinity } = this.#budget;
    return this.#spent.tokens >= tokens || this.#spent.usd >= usd;
  }

  /** Each try costs, whatever became of it. */
  spend(spent: { readonly tokens: number; readonly usd: number }): void {
    this.#spent = { tokens: this.#spent.tokens + spent.tokens, usd: this.#spent.usd + spent.usd };
  }

  done(rollout: UnscoredRollout): void {
    const { trajectory, tries, resumed, partial } = rollout;
    this.#finished += 1;
    this.#retries += tries - 1;
    if (resumed) this.#resumed += 1;
    if (trajectory.outcome.status !== 'finished') this.#failed += 1;
    this.#tokens.add(totalsOf(trajectory).outputTokens);
    this.#seconds.add((trajectory.endedAt - trajectory.startedAt) / 1000);
    for (const { name, value } of partial.components) this.#component(name).add(value);
  }

  scored({ score }: FinishedRollout): void {
    if (score.status === 'scored') this.#reward.add(score.total);
  }

  means(): LiveMeans {
    return {
      finished: this.#finished,
      failed: this.#failed,
      retries: this.#retries,
      resumed: this.#resumed,
      reward: this.#reward.mean,
      components: Object.fromEntries([...this.#components].map(([name, mean]) => [name, mean.mean])),
      outputTokens: this.#tokens.mean,
      seconds: this.#seconds.mean,
      spent: this.#spent,
    };
  }

  #component(name: string): RunningMean {
    let mean = this.#components.get(name);
    if (mean === undefined) this.#components.set(name, (mean = new RunningMean()));
    return mean;
  }
}

export function spentOn(trajectory: Trajectory): { readonly tokens: number; readonly usd: number } {
  const { inputTokens, outputTokens, usd } = totalsOf(trajectory);
  return { tokens: inputTokens + outputTokens, usd };
}
