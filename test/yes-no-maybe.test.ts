import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Apprentice, StepReport } from '../src/index.ts';
import { trainingApprentice } from './sidecar.ts';
import { wordTask } from './word-task.ts';

let apprentice: Apprentice;
beforeAll(async () => {
  ({ apprentice } = await trainingApprentice());
});
afterAll(() => apprentice.close());

const meanOf = (steps: readonly StepReport[]): number =>
  steps.reduce((sum, step) => sum + step.meanReward, 0) / steps.length;

it('reaches a mean reward of 0.95, on exactly the tokens that were sampled', async () => {
  const steps: StepReport[] = [];
  for await (const event of apprentice.train(wordTask(apprentice, 20))) {
    if (event.type === 'step') steps.push(event);
  }
  // Chance gives about 0.76.
  expect(steps[0]?.meanReward).toBeLessThan(0.85);
  expect(meanOf(steps.slice(-5))).toBeGreaterThanOrEqual(0.95);
  for (const step of steps) {
    expect(step.mismatchedTokens).toBe(0);
    expect(step.logprobGap?.mean).toBeLessThan(1e-4);
    expect(step.canary.against === 'trainer' && step.canary.maxGap).toBeLessThan(1e-3);
    expect(step.canary.baseGap).toBeGreaterThan(0);
  }
  const ledger = await (await apprentice.store()).steps('test', 'tiny');
  const trained = ledger.flatMap((step) => step.trajectoryIds);
  expect(trained.length).toBeGreaterThan(0);
  expect(new Set(trained).size).toBe(trained.length);
});
