/** The support desk as the demo's task, on any of the frameworks. */
import { codeReward } from 'apprentice/rewards';
import type { Framework } from './frameworks/framework.ts';
import type { DemoTask } from './task.ts';
import { makeTickets, reward, type Outcome, type Ticket } from './world.ts';

export function supportTask(framework: Framework): DemoTask<Ticket, Outcome> {
  return {
    title: 'apprentice: a support desk learns its rules',
    about: `${framework.title} with two tools, a tiny model of 0.9 M parameters, GRPO on a LoRA, this machine, no GPU.`,
    noun: 'tickets',
    success: 'handled rightly',
    name: 'desk',
    makeScenarios: makeTickets,
    connect(apprentice) {
      const handleTicket = framework.connect(apprentice);
      return (ticket, { attempt, signal }) => handleTicket(ticket, { stream: attempt % 2 === 1, signal });
    },
    reward: codeReward('handled', ({ scenario, result }) => reward(scenario, result)),
    poolSize: 1500,
    groupsPerStep: 16,
    groupSize: 8,
    concurrency: 32,
    training: {
      optimizer: { learningRate: 1e-3, gradientSteps: 4, betas: [0.9, 0.95] },
      // Without the two, the policy becomes certain of a wrong rule now and then, and no group shows it a better one.
      loss: { entropyCoefficient: 0.03, klCoefficient: 0.05 },
      lora: { rank: 16, alpha: 32 },
    },
  };
}
