/**
 * `npm run example:openai-agent`: an agent on the openai package is recorded, trained for a few steps on this machine,
 * and then served: to the agent as it stands, and as an endpoint that any OpenAI client can talk to.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createApprentice } from 'apprentice';
import { ensureEnvironment, localBackend, tinyModelFolder } from 'apprentice/backends/local';
import { wrapOpenAI } from 'apprentice/openai';
import { codeReward } from 'apprentice/rewards';
import OpenAI from 'openai';
import { seededRandom } from '../support-desk/seeded-random.ts';
import { makeTickets, reward, words, type Outcome, type Ticket } from '../support-desk/world.ts';
import { handle } from './agent.ts';

const { values } = parseArgs({ options: { steps: { type: 'string', default: '6' } } });
const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const environment = await ensureEnvironment({ onProgress: say });
const apprentice = createApprentice({
  project: 'orders',
  name: 'orders',
  baseModel: tinyModelFolder(), // yours: a folder or hub id of an open-weight model
  backend: localBackend({ environment: environment.python }),
  folder: await mkdtemp(join(tmpdir(), 'apprentice-openai-agent-')),
});

// Your client, wrapped: the one line. Here nothing answers at its address, because only the policy is to answer.
const client = new OpenAI({ baseURL: 'http://127.0.0.1:9/v1', apiKey: 'none' });
wrapOpenAI(client, apprentice);

const answer = (on: OpenAI, model: string, ticket: Ticket, signal?: AbortSignal): Promise<Outcome> =>
  handle(on, {
    model,
    instructions: words.system,
    message: ticket.message,
    order: { id: ticket.orderId, record: ticket.order },
    tools: words.tools,
    ...(signal === undefined ? {} : { signal }),
  });

const random = seededRandom(1);
const heldOut = makeTickets('heldOut', 60, random);
let step = 0;
try {
  const training = apprentice.train<Ticket, Outcome>({
    scenarios: makeTickets('train', 400, random),
    heldOut,
    rollout: (ticket, { signal }) => answer(client, 'gpt-5-mini', ticket, signal),
    rewards: [codeReward('handled', ({ scenario, result }) => reward(scenario, result))],
    steps: Number(values.steps),
    groupsPerStep: 16,
    groupSize: 8,
    scaleByStandardDeviation: true,
    optimizer: { learningRate: 1e-3, gradientSteps: 4, betas: [0.9, 0.95] },
    lora: { rank: 16, alpha: 32 },
  });
  for await (const event of training) {
    if (event.type === 'evaluation') {
      const { successes, n, interval } = event.evaluation.success;
      const [low, high] = interval.map((bound) => `${(100 * bound).toFixed(0)} %`);
      say(
        `step ${String(event.step)}: ${String(successes)} of ${String(n)} held-out tickets [${String(low)}, ${String(high)}]`,
      );
    } else if (event.type === 'step') {
      step = event.step;
      say(`step ${String(step)}: mean reward ${event.meanReward.toFixed(2)}`);
    }
  }

  // Served: the last step answers any client that speaks OpenAI's dialect, here a second, unwrapped one.
  const backend = await apprentice.backend();
  const { baseUrl, apiKey, model } = await backend.endpoint({ name: 'orders', step });
  const served = new OpenAI({ baseURL: baseUrl, apiKey });
  const outcomes = await Promise.all(
    heldOut.slice(0, 20).map(async (ticket) => reward(ticket, await answer(served, model, ticket))),
  );
  const right = outcomes.filter((value) => value === 1).length;
  say(`${model}, asked by a client of its own: ${String(right)} of ${String(outcomes.length)} tickets right`);
} finally {
  await apprentice.close({ timeoutMs: 10_000 });
}
