/** Messages to be routed, as the demo's task: one AI SDK call a message, on a real pretrained model. */
import { generateText, streamText, type LanguageModel } from 'ai';
import { wrapModel } from 'apprentice/ai-sdk';
import { codeReward } from 'apprentice/rewards';
import { noIncumbent } from '../support-desk/incumbent.ts';
import type { DemoTask } from '../support-desk/task.ts';
import { makeMessages, prompt, teamIn, type CustomerMessage } from './world.ts';

/** What the model answered. */
type Answer = string;

export const routingTask: DemoTask<CustomerMessage, Answer> = {
  title: 'apprentice: a front desk learns who deals with what',
  about:
    'An AI SDK agent on SmolLM2-135M-Instruct (pretrained, 135 M parameters), GRPO on a LoRA, this machine, no GPU.',
  noun: 'messages',
  success: 'routed rightly',
  name: 'routing',
  makeScenarios: makeMessages,
  connect(apprentice) {
    // The one line: the model that the agent calls, wrapped.
    const model = wrapModel(noIncumbent, apprentice);
    return (message, { attempt, split, signal }) =>
      route(model, message, {
        stream: attempt % 2 === 1,
        // Training needs answers that differ; a desk, and its evaluation, the likeliest one.
        temperature: split === 'test' ? 0 : 1,
        signal,
      });
  },
  reward: codeReward('routed', ({ scenario, result }) => (teamIn(result) === scenario.team ? 1 : 0)),
  poolSize: 1200,
  groupsPerStep: 32,
  groupSize: 8,
  concurrency: 32,
  training: {
    optimizer: { learningRate: 1e-4, gradientSteps: 2, betas: [0.9, 0.95] },
    // Without them it becomes certain of rules that are wrong, and groups lose their signal.
    loss: { entropyCoefficient: 0.03, klCoefficient: 0.05 },
    lora: { rank: 16, alpha: 32 },
  },
};

interface Sending {
  readonly stream: boolean;
  readonly temperature: number;
  readonly signal: AbortSignal;
}

async function route(model: LanguageModel, message: CustomerMessage, sending: Sending): Promise<Answer> {
  const settings = {
    model,
    ...prompt(message),
    maxOutputTokens: 3,
    temperature: sending.temperature,
    maxRetries: 2,
    abortSignal: sending.signal,
  };
  if (!sending.stream) return (await generateText(settings)).text;
  return streamText(settings).text;
}
