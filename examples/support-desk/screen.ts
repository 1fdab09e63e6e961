/** What the demo shows: plain lines everywhere, one moving line where the terminal can. */
import { styleText } from 'node:util';
import type { RolloutProgress, StepReport, TrainEvent } from 'apprentice';

export interface Share {
  readonly successes: number;
  readonly n: number;
  readonly interval: readonly [low: number, high: number];
}

export interface Summary {
  readonly before: Share;
  readonly after: Share;
  readonly trainedTokens: number;
  readonly mismatchedTokens: number;
  readonly logprobGap: { readonly mean: number; readonly max: number };
  readonly seconds: Readonly<Record<'install' | 'rollout' | 'training' | 'swap' | 'total', number>>;
  readonly store: string;
  /** The last lines: where the weights are. */
  readonly closing: readonly string[];
  readonly stored: number;
}

const barWidth = 24;

/** What is counted, and as what. */
interface Counted {
  /** In the plural. */
  readonly noun: string;
  readonly success: string;
}

export class DemoScreen {
  readonly #counted: Counted;
  readonly #live = process.stdout.isTTY;
  #evaluations = 0;

  constructor(counted: Counted) {
    this.#counted = counted;
  }

  title(text: string, lines: readonly string[]): void {
    this.#line(styleText('bold', text));
    for (const line of lines) this.#line(line);
    this.#line('');
  }

  note(text: string): void {
    this.#line(styleText('dim', `  · ${text}`));
  }

  progress({ stage, step, done, of }: RolloutProgress): void {
    if (!this.#live) return;
    const what = {
      evaluation: 'evaluating',
      rollout: 'rolling out',
      training: 'training',
      swap: 'swapping in',
    }[stage];
    process.stdout.write(
      `\r\u001b[2K  ${what} on step ${String(step)} ${bar(done / Math.max(1, of))} ${String(done)}/${String(of)}`,
    );
  }

  event(event: TrainEvent): void {
    switch (event.type) {
      case 'evaluation': {
        const label = this.#evaluations++ === 0 ? 'before' : `after step ${String(event.step)}`;
        const { successes, n, interval } = event.evaluation.success;
        this.#line(
          `${label.padEnd(14)} ${bar(successes / n)} ${percent(successes / n)} of ${String(n)} held-out ${this.#counted.noun} ${range(interval)}`,
        );
        break;
      }
      case 'step':
        this.#line(stepLine(event));
        break;
      case 'no-signal':
        this.#line(
          `  step ${String(event.step + 1)}: all rewards equal within their groups; drawing other ${this.#counted.noun}`,
        );
        break;
      case 'stopped':
        this.#line(
          `stopped at step ${String(event.step)}: the budget is used up; start again with \`--folder\` to go on`,
        );
        break;
      case 'resumed':
        this.#line(
          `resumed at step ${String(event.step)}${event.redone ? ', which a crash had interrupted' : ''}`,
        );
        break;
      default:
        event satisfies never;
    }
  }

  table(summary: Summary): void {
    const { before, after, seconds, logprobGap } = summary;
    const gain = 100 * (after.successes / after.n - before.successes / before.n);
    this.#line('');
    this.#line(styleText('bold', `Held-out ${this.#counted.noun} ${this.#counted.success} (95 % interval)`));
    for (const [label, share] of [
      ['before', before],
      ['after', after],
    ] as const) {
      const { successes, n, interval } = share;
      this.#line(
        `  ${label.padEnd(7)} ${percent(successes / n)}  ${range(interval)}  ${String(successes)} of ${String(n)}`,
      );
    }
    this.#line(`  gain    ${gain >= 0 ? '+' : ''}${gain.toFixed(1)} points`);
    this.#line('');
    this.#line(
      `Trained on ${String(summary.trainedTokens)} sampled tokens, ${String(summary.mismatchedTokens)} of them not as sampled;`,
    );
    this.#line(
      `trainer and sampler differ by ${logprobGap.mean.toExponential(1)} nats on average, ${logprobGap.max.toExponential(1)} at most.`,
    );
    this.#line(
      `Time: ${seconds.total.toFixed(0)} s (rollouts ${seconds.rollout.toFixed(0)} s, training ${seconds.training.toFixed(0)} s, swaps ${seconds.swap.toFixed(1)} s).`,
    );
    this.#line('');
    this.#line(`${String(summary.stored)} trajectories: ${summary.store}`);
    for (const line of summary.closing) this.#line(line);
  }

  #line(text: string): void {
    if (this.#live) process.stdout.write('\r\u001b[2K');
    process.stdout.write(`${text}\n`);
  }
}

function stepLine(event: StepReport): string {
  const { step, meanReward, groupsWithSignal, groups, seconds } = event;
  const time = seconds.rollout + seconds.training + seconds.swap;
  return `  step ${String(step).padStart(2)}      ${bar(meanReward)} reward ${meanReward.toFixed(2)}, ${String(groupsWithSignal)} of ${String(groups)} groups with signal, ${time.toFixed(1)} s`;
}

function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * barWidth);
  return `${'█'.repeat(full)}${'░'.repeat(barWidth - full)}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`.padStart(7);
}

function range([low, high]: readonly [number, number]): string {
  return `[${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
}
