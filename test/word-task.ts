/** The smallest task on which a backend shows that it learns: "maybe" is worth more than "no", "no" more than "yes". */
import { generateText } from 'ai7';
import { wrapModel } from '../src/adapters/ai-sdk/index.ts';
import type { Apprentice, TrainOptions } from '../src/index.ts';
import { codeReward } from '../src/rewards/index.ts';
import { neverAsked } from './sidecar.ts';

export interface WordTask {
  readonly id: string;
}

const worth: Readonly<Record<string, number>> = { yes: 0.5, no: 0.75, maybe: 1 };

/** Prompts that offer the words in all orders, two or three of them, with and without quotes. */
function prompts(): WordTask[] {
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
        return { id: `${verb} ${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}` };
      }),
    ),
  );
}

/** What `apprentice.train` needs for the task. */
export function wordTask(apprentice: Apprentice, steps: number): TrainOptions<WordTask, string> {
  const model = wrapModel(neverAsked, apprentice) as never;
  return {
    scenarios: prompts(),
    rollout: async ({ id }, { signal }) =>
      (await generateText({ model, prompt: id, maxOutputTokens: 5, abortSignal: signal })).text,
    rewards: [codeReward('worth', ({ result }) => worth[result.trim()] ?? 0)],
    steps,
    groupsPerStep: 12,
    groupSize: 8,
    scaleByStandardDeviation: true,
    optimizer: { learningRate: 2e-3 },
  };
}
