/**
 * `npm run example:langgraph-agent`: a LangGraph.js agent is trained, then served, then gets feedback. No GPU and no account:
 * it learns on the tiny model that comes with the package.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ChatOpenAI } from '@langchain/openai';
import { createApprentice } from 'apprentice';
import { ensureEnvironment, localBackend, tinyModelFolder } from 'apprentice/backends/local';
import { wrapModel } from 'apprentice/langchain';
import { codeReward } from 'apprentice/rewards';
import { seededRandom } from '../support-desk/seeded-random.ts';
import { makeTickets, reward, type Outcome, type Ticket } from '../support-desk/world.ts';
import { handleTicket } from './agent.ts';

const { values } = parseArgs({
  options: { steps: { type: 'string', default: '8' }, 'held-out': { type: 'string', default: '120' } },
});
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
const percent = (count: number, of: number): string =>
  `${((100 * count) / of).toFixed(0)} % of ${String(of)}`;

const environment = await ensureEnvironment({ onProgress: say });
const apprentice = createApprentice({
  project: 'support',
  name: 'graph-desk',
  baseModel: tinyModelFolder(),
  backend: localBackend({ environment: environment.python }),
  folder: await mkdtemp(join(tmpdir(), 'apprentice-langgraph-')),
});

// Stands where your model is. Nothing answers at this address: the example needs no account, and only policies answer.
const incumbent = new ChatOpenAI({
  model: 'gpt-5-mini',
  apiKey: 'none',
  maxTokens: 48,
  configuration: { baseURL: 'http://127.0.0.1:9/v1' },
});
const model = wrapModel(incumbent, apprentice); // the one line

try {
  const random = seededRandom(1);
  const scenarios = makeTickets('train', 1500, random);
  const heldOut = makeTickets('heldOut', Number(values['held-out']), random);
  let threads = 0;
  const training = apprentice.train<Ticket, Outcome>({
    scenarios,
    heldOut,
    steps: Number(values.steps),
    groupsPerStep: 16,
    groupSize: 8,
    rollout: (ticket, { signal }) =>
      handleTicket(model, ticket, { threadId: `rollout-${String((threads += 1))}`, signal }),
    rewards: [codeReward('handled', ({ scenario, result }) => reward(scenario, result))],
    scaleByStandardDeviation: true,
    optimizer: { learningRate: 1e-3, gradientSteps: 4, betas: [0.9, 0.95] },
    lora: { rank: 16, alpha: 32 },
    limits: { concurrency: 32 },
  });
  for await (const event of training) {
    if (event.type === 'step') say(`step ${String(event.step)}: mean reward ${event.meanReward.toFixed(2)}`);
    if (event.type !== 'evaluation') continue;
    const { successes, n } = event.evaluation.success;
    say(`on step ${String(event.step)}: ${percent(successes, n)} held-out tickets handled rightly`);
  }

  // From here on the agent runs as in production: outside any training, on the policy that was trained.
  const policy = await apprentice.serve();
  let handled = 0;
  for (const ticket of heldOut.slice(0, 20)) {
    const threadId = `thread-${ticket.id}`;
    const outcome = await handleTicket(model, ticket, { threadId });
    const solved = reward(ticket, outcome) === 1;
    if (solved) handled += 1;
    // As a customer would say it, by the id of the thread.
    await apprentice.feedback({ threadId }, { name: 'resolved', value: solved ? 1 : 0 });
  }
  say(`served ${policy}: ${percent(handled, 20)} tickets handled rightly`);
} finally {
  await apprentice.close({ timeoutMs: 10_000 });
}
