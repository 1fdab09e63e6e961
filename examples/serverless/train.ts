/**
 * `npm run example:serverless`: the support desk's agent learns at W&B Training, or at its stand-in where there is no
 * key; then the weights are fetched, so that nothing binds you to the service.
 */
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createApprentice } from 'apprentice';
import { codeReward } from 'apprentice/rewards';
import { aiSdk } from '../support-desk/frameworks/ai-sdk.ts';
import { DemoScreen } from '../support-desk/screen.ts';
import { seededRandom } from '../support-desk/seeded-random.ts';
import { makeTickets, reward, type Outcome, type Ticket } from '../support-desk/world.ts';
import { chooseService } from './service.ts';

const { values } = parseArgs({
  options: { steps: { type: 'string', default: '3' }, 'held-out': { type: 'string', default: '40' } },
});
const screen = new DemoScreen({ noun: 'tickets', success: 'handled rightly' });
const note = (message: string): void => {
  screen.note(message);
};
const service = await chooseService(note);
screen.title('apprentice: the support desk, serverless', [service.says]);

const folder = await mkdtemp(join(tmpdir(), 'apprentice-serverless-'));
const apprentice = createApprentice({
  project: 'support',
  name: 'desk',
  baseModel: service.baseModel,
  backend: service.backend,
  folder,
  onProgress: ({ message }) => {
    note(message);
  },
});
const handleTicket = aiSdk.connect(apprentice);
const random = seededRandom(1);
const stop = new AbortController();
process.once('SIGINT', () => {
  stop.abort(new Error('interrupted'));
});
try {
  let step = 0;
  const training = apprentice.train<Ticket, Outcome>({
    scenarios: makeTickets('train', 500, random),
    heldOut: makeTickets('heldOut', Number(values['held-out']), random),
    steps: Number(values.steps),
    groupsPerStep: 16,
    groupSize: 8,
    rollout: (ticket, { signal }) => handleTicket(ticket, { stream: false, signal }),
    rewards: [codeReward('handled', ({ scenario, result }) => reward(scenario, result))],
    scaleByStandardDeviation: true,
    optimizer: { learningRate: 1e-3 },
    limits: { concurrency: 32 },
    signal: stop.signal,
  });
  for await (const event of training) {
    screen.event(event);
    if (event.type === 'step') step = event.step;
  }
  // The way out: the weights as a PEFT folder, checked byte by byte.
  const running = await apprentice.backend();
  const target = join(folder, `desk-step${String(step)}`);
  await running.download(step, target);
  note(`Step ${String(step)} is in ${target}: ${(await readdir(target)).join(', ')}`);
} finally {
  await apprentice.close({ timeoutMs: 10_000 });
  await service.close();
}
