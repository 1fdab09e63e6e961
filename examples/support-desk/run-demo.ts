/** One demo, from the first evaluation to the table: trains, shows what goes on, and gives the figures. */
import type { Apprentice, TrainingSettings } from 'apprentice';
import type { Scenario } from 'apprentice/rewards';
import type { DemoScreen, Share } from './screen.ts';
import { seededRandom } from './seeded-random.ts';
import type { DemoTask } from './task.ts';

export interface DemoRun<S extends Scenario, R> {
  readonly task: DemoTask<S, R>;
  readonly apprentice: Apprentice;
  readonly screen: DemoScreen;
  readonly seed: number;
  readonly steps: number;
  readonly heldOut: number;
  /** What the backend can be asked for. */
  readonly training: TrainingSettings;
  /** Agents at a time. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
}

export interface DemoFigures {
  readonly before: Share | undefined;
  readonly after: Share | undefined;
  readonly steps: readonly object[];
  readonly trainedTokens: number;
  /** Trained tokens whose id is not the sampled one. */
  readonly mismatchedTokens: number;
  /** |trainer − sampler| in nats on on-policy tokens. */
  readonly logprobGap: { readonly mean: number; readonly max: number };
  readonly seconds: { readonly rollout: number; readonly training: number; readonly swap: number };
}

export async function runDemo<S extends Scenario, R>(run: DemoRun<S, R>): Promise<DemoFigures> {
  const { task, apprentice, screen, seed } = run;
  const random = seededRandom(seed);
  const scenarios = task.makeScenarios('train', task.poolSize, random);
  const heldOut = task.makeScenarios('heldOut', run.heldOut, random);
  const evaluations: Share[] = [];
  const steps: object[] = [];
  const seconds = { rollout: 0, training: 0, swap: 0 };
  let trainedTokens = 0;
  let mismatchedTokens = 0;
  let gapSum = 0;
  let gapMax = 0;
  const training = apprentice.train<S, R>({
    scenarios,
    heldOut,
    steps: run.steps,
    seed,
    groupsPerStep: task.groupsPerStep,
    groupSize: task.groupSize,
    rollout: task.connect(apprentice),
    rewards: [task.reward],
    scaleByStandardDeviation: true,
    ...run.training,
    limits: { concurrency: run.concurrency },
    signal: run.signal,
    onProgress: (progress) => {
      screen.progress(progress);
    },
  });
  for await (const event of training) {
    screen.event(event);
    switch (event.type) {
      case 'evaluation':
        evaluations.push(event.evaluation.success);
        break;
      case 'step':
        trainedTokens += event.trainedTokens;
        mismatchedTokens += event.mismatchedTokens;
        gapSum += (event.logprobGap?.mean ?? Number.NaN) * event.trainedTokens;
        gapMax = Math.max(gapMax, event.logprobGap?.max ?? Number.NaN);
        seconds.rollout += event.seconds.rollout;
        seconds.training += event.seconds.training;
        seconds.swap += event.seconds.swap;
        steps.push({
          step: event.step,
          meanReward: event.meanReward,
          groups: event.groups,
          groupsWithSignal: event.groupsWithSignal,
        });
        break;
      case 'no-signal':
      case 'stopped':
      case 'resumed':
        break;
      default:
        event satisfies never;
    }
  }
  return {
    before: evaluations[0],
    after: evaluations.at(-1),
    steps,
    trainedTokens,
    mismatchedTokens,
    logprobGap: { mean: gapSum / Math.max(1, trainedTokens), max: gapMax },
    seconds,
  };
}
