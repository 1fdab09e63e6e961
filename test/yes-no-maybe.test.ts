import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Apprentice, StepReport } from '../src/index.ts';
import { trainingApprentice } from './sidecar.ts';
import { wordTask } from './word-task.ts';

let apprentice: Apprentice;
beforeAll(async () => {
  ({ apprentice } = await trainingApprentice());
});
afterAll(() => apprentice.close());

it('learns to say maybe, to a mean reward of at least 0.95, on exactly the tokens that were sampled', async () => {
  const steps: StepReport[] = [];
  for await (const event of apprentice.train(wordTask(apprentice, 16))) {
    if (event.type === 'step') steps.push(event);
    if (event.type === 'step' && event.meanReward >= 0.97) break;
  }
  expect(steps[0]?.meanReward).toBeLessThan(0.9);
  expect(Math.max(...steps.map((step) => step.meanReward))).toBeGreaterThanOrEqual(0.95);
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
