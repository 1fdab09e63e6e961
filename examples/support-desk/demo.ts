/** `npm run demo`: an agent gets better on this machine, from 0 to the table at the end. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createApprentice } from 'apprentice';
import { codeReward } from 'apprentice/rewards';
import { backendNames, demoBackend, trainingNames } from './backend.ts';
import { frameworkNames, loadFramework } from './frameworks/index.ts';
import { DemoScreen } from './screen.ts';
import { seededRandom } from './seeded-random.ts';
import { makeTickets, reward, type Outcome, type Ticket } from './world.ts';

const { values } = parseArgs({
  options: {
    framework: { type: 'string', default: 'ai-sdk' },
    json: { type: 'string' },
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '28' },
    'held-out': { type: 'string', default: '240' },
    folder: { type: 'string' },
    backend: { type: 'string', default: 'local' },
    training: { type: 'string', default: 'transformers' },
  },
});
const seed = wholeNumber('seed', values.seed);
const steps = wholeNumber('steps', values.steps);
const heldOutCount = wholeNumber('held-out', values['held-out']);
const framework = await loadFramework(values.framework);
if (framework === undefined)
  refuse(`--framework must be one of ${frameworkNames.join(', ')}`, values.framework);

const startedAt = performance.now();
const screen = new DemoScreen();
screen.title('apprentice: a support desk learns its rules', [
  `${framework.title} with two tools, a tiny model of 0.9 M parameters, GRPO on a LoRA, this machine, no GPU.`,
]);

const engines = { training: oneOf('training', values.training, trainingNames) };
const chosen = await demoBackend(oneOf('backend', values.backend, backendNames), engines, (message) => {
  screen.note(message);
});

const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'apprentice-demo-')));
const apprentice = createApprentice({
  project: 'support',
  name: 'desk',
  baseModel: chosen.baseModel,
  backend: chosen.backend,
  folder,
  onProgress: ({ message }) => {
    screen.note(message);
  },
});

const handleTicket = framework.connect(apprentice);

const random = seededRandom(seed);
const scenarios = makeTickets('train', 1500, random);
const heldOut = makeTickets('heldOut', heldOutCount, random);

const stop = new AbortController();
process.once('SIGINT', () => {
  stop.abort(new Error('interrupted'));
});

const evaluations: { successes: number; n: number; interval: readonly [number, number] }[] = [];
const reports: object[] = [];
const seconds = { install: chosen.installSeconds, rollout: 0, training: 0, swap: 0, total: 0 };
let trainedTokens = 0;
let mismatchedTokens = 0;
let gapSum = 0;
let gapMax = 0;
try {
  const training = apprentice.train<Ticket, Outcome>({
    scenarios,
    heldOut,
    steps,
    seed,
    groupsPerStep: 16,
    groupSize: 8,
    rollout: (ticket, { attempt, signal }) => handleTicket(ticket, { stream: attempt % 2 === 1, signal }),
    rewards: [codeReward('handled', ({ scenario, result }) => reward(scenario, result))],
    scaleByStandardDeviation: true,
    ...chosen.training,
    limits: { concurrency: 32 },
    signal: stop.signal,
    onProgress: (progress) => {
      screen.progress(progress);
    },
  });
  for await (const event of training) {
    screen.event(event);
    switch (event.type) {
      case 'evaluation':
        evaluations.push(event.evaluation.success);
        break;
      case 'step':
        trainedTokens += event.trainedTokens;
        mismatchedTokens += event.mismatchedTokens;
        gapSum += (event.logprobGap?.mean ?? Number.NaN) * event.trainedTokens;
        gapMax = Math.max(gapMax, event.logprobGap?.max ?? Number.NaN);
        seconds.rollout += event.seconds.rollout;
        seconds.training += event.seconds.training;
        seconds.swap += event.seconds.swap;
        reports.push({
          step: event.step,
          meanReward: event.meanReward,
          groups: event.groups,
          groupsWithSignal: event.groupsWithSignal,
        });
        break;
      case 'no-signal':
      case 'stopped':
      case 'resumed':
        break;
      default:
        event satisfies never;
    }
  }
  seconds.total = (performance.now() - startedAt) / 1000;
  const before = evaluations[0];
  const after = evaluations.at(-1);
  const { store, capture } = await apprentice.status();
  const logprobGap = { mean: gapSum / Math.max(1, trainedTokens), max: gapMax };
  const result = {
    framework: values.framework,
    seed,
    before,
    after,
    steps: reports,
    trainedTokens,
    mismatchedTokens,
    logprobGap,
    seconds,
    store,
  };
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(result, null, 2)}\n`);
  if (before !== undefined && after !== undefined) {
    screen.table({
      before,
      after,
      trainedTokens,
      mismatchedTokens,
      logprobGap,
      seconds,
      store,
      closing: chosen.closing(folder),
      stored: capture.stored,
    });
  }
} finally {
  await apprentice.close({ timeoutMs: 10_000 });
  await chosen.close();
}

function oneOf<T extends string>(name: string, text: string, names: readonly T[]): T {
  const found = names.find((one) => one === text);
  if (found !== undefined) return found;
  refuse(`--${name} must be one of ${names.join(', ')}`, text);
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  refuse(`--${name} must be a whole number of at least 1`, text);
}

function refuse(rule: string, received: string): never {
  process.stderr.write(`${rule}, but it is "${received}".\n`);
  process.exit(2);
}
