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

it('earns more reward step by step, on exactly the tokens that were sampled', async () => {
  const steps: StepReport[] = [];
  for await (const event of apprentice.train(wordTask(apprentice, 32))) {
    if (event.type === 'step') steps.push(event);
  }
  expect(steps).toHaveLength(32);
  // Chance gives 0.75 to 0.78; the task's aim of 0.95 is not reached yet: see docs/learning.md.
  expect(meanOf(steps.slice(0, 3))).toBeLessThan(0.82);
  expect(meanOf(steps.slice(-6))).toBeGreaterThan(meanOf(steps.slice(0, 3)) + 0.05);
  for (const step of steps) {
    expect(step.mismatchedTokens).toBe(0);
    expect(step.logprobGap.mean).toBeLessThan(1e-4);
    expect(step.canary.maxGap).toBeLessThan(1e-3);
    expect(step.canary.baseGap).toBeGreaterThan(0);
  }
  const ledger = await (await apprentice.store()).steps('test', 'tiny');
  const trained = ledger.flatMap((step) => step.trajectoryIds);
  expect(trained.length).toBeGreaterThan(0);
  expect(new Set(trained).size).toBe(trained.length);
});
