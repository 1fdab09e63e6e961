/** The smallest task on which a backend shows that it learns: "maybe" is worth more than "no", "no" more than "yes". */
import { generateText } from 'ai7';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { wrapModel } from '../src/adapters/ai-sdk/index.ts';
import type { Apprentice, StepReport, TrainEvent } from '../src/index.ts';
import { codeReward } from '../src/rewards/index.ts';
import { neverAsked, trainingApprentice } from './sidecar.ts';

const worth: Readonly<Record<string, number>> = { yes: 0.5, no: 0.75, maybe: 1 };

/** Prompts that offer the words in all orders, two or three of them, with and without quotes. */
function prompts(): { id: string; prompt: string }[] {
  const orders = [
    ['yes', 'no', 'maybe'],
    ['maybe', 'yes', 'no'],
    ['no', 'yes', 'maybe'],
    ['yes', 'maybe', 'no'],
    ['maybe', 'no', 'yes'],
    ['no', 'maybe', 'yes'],
    ['yes', 'maybe'],
    ['maybe', 'no'],
  ];
  return ['respond with', 'just respond with', 'answer'].flatMap((verb) =>
    orders.flatMap((order) =>
      [false, true].map((quoted) => {
        const words = order.map((word) => (quoted ? `'${word}'` : word));
        const prompt = `${verb} ${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;
        return { id: prompt, prompt };
      }),
    ),
  );
}

let apprentice: Apprentice;
beforeAll(async () => {
  ({ apprentice } = await trainingApprentice());
});
afterAll(() => apprentice.close());

it('learns to say maybe, to a mean reward of at least 0.95', async () => {
  const model = wrapModel(neverAsked, apprentice) as never;
  const events: TrainEvent[] = [];
  for await (const event of apprentice.train<{ id: string; prompt: string }, string>({
    scenarios: prompts(),
    rollout: async ({ prompt }, { signal }) =>
      (await generateText({ model, prompt, maxOutputTokens: 5, abortSignal: signal })).text,
    rewards: [codeReward('worth', ({ result }) => worth[result.trim()] ?? 0)],
    steps: 12,
    groupsPerStep: 12,
    groupSize: 8,
    scaleByStandardDeviation: true,
    optimizer: { learningRate: 3e-3 },
  })) {
    events.push(event);
    if (event.type === 'step' && event.meanReward >= 0.97) break;
  }
  const steps = events.filter((event): event is StepReport => event.type === 'step');
  const first = steps[0];
  expect(first?.meanReward).toBeLessThan(0.9);
  expect(Math.max(...steps.map((step) => step.meanReward))).toBeGreaterThanOrEqual(0.95);
  for (const step of steps) {
    expect(step.mismatchedTokens).toBe(0);
    expect(step.logprobGap.mean).toBeLessThan(1e-4);
    expect(step.canary.maxGap).toBeLessThan(1e-3);
    expect(step.canary.baseGap).toBeGreaterThan(0);
  }
  const store = await apprentice.store();
  const ledger = await store.steps('test', 'tiny');
  const trained = ledger.flatMap((step) => step.trajectoryIds);
  expect(new Set(trained).size).toBe(trained.length);
});
