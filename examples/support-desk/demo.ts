/** `npm run demo`: an agent gets better on this machine, from 0 to the table at the end. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createApprentice } from 'apprentice';
import type { Scenario } from 'apprentice/rewards';
import { routingTask } from '../routing-desk/task.ts';
import { backendNames, demoBackend, modelNames, servingNames, trainingNames } from './backend.ts';
import { frameworkNames, loadFramework } from './frameworks/index.ts';
import { runDemo } from './run-demo.ts';
import { DemoScreen } from './screen.ts';
import { supportTask } from './support-task.ts';
import type { DemoTask } from './task.ts';

const { values } = parseArgs({
  options: {
    framework: { type: 'string', default: 'ai-sdk' },
    model: { type: 'string', default: 'tiny' },
    json: { type: 'string' },
    seed: { type: 'string', default: '1' },
    steps: { type: 'string' },
    'held-out': { type: 'string', default: '240' },
    folder: { type: 'string' },
    backend: { type: 'string', default: 'local' },
    training: { type: 'string', default: 'transformers' },
    serving: { type: 'string', default: 'transformers' },
  },
});
const seed = wholeNumber('seed', values.seed);
const heldOut = wholeNumber('held-out', values['held-out']);
const framework = oneOf('framework', values.framework, frameworkNames);
const model = oneOf('model', values.model, modelNames);
const engine = oneOf('training', values.training, trainingNames);
const serving = oneOf('serving', values.serving, servingNames);
const backend = oneOf('backend', values.backend, backendNames);

if (backend !== 'local' && serving !== 'transformers')
  refuse('--serving is for --backend local: at W&B the service serves. --serving', serving);

/** At the learning rate that each backend gets. */
const supportSteps = { local: 28, serverless: 36 };

switch (model) {
  case 'tiny':
    await demo(supportTask(await loadFramework(framework)), supportSteps[backend]);
    break;
  case 'smollm2':
    if (framework !== 'ai-sdk')
      refuse('--model smollm2 has an agent on the AI SDK only: --framework', framework);
    if (backend !== 'local') refuse('--model smollm2 trains on this machine only: --backend', backend);
    await demo(routingTask, 24);
    break;
  default:
    model satisfies never;
}

/** `steps`: unless the command line says otherwise. */
async function demo<S extends Scenario, R>(task: DemoTask<S, R>, defaultSteps: number): Promise<void> {
  const steps = values.steps === undefined ? defaultSteps : wholeNumber('steps', values.steps);
  const startedAt = performance.now();
  const screen = new DemoScreen(task);
  screen.title(task.title, [task.about]);
  const chosen = await demoBackend({
    backend,
    model,
    engine,
    serving,
    training: task.training,
    note: (message) => {
      screen.note(message);
    },
  });
  const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'apprentice-demo-')));
  const apprentice = createApprentice({
    project: 'support',
    name: task.name,
    baseModel: chosen.baseModel,
    backend: chosen.backend,
    folder,
    onProgress: ({ message }) => {
      screen.note(message);
    },
  });
  const stop = new AbortController();
  process.once('SIGINT', () => {
    stop.abort(new Error('interrupted'));
  });
  try {
    const { signal } = stop;
    const { training, concurrency = task.concurrency } = chosen;
    const figures = await runDemo({
      task,
      apprentice,
      screen,
      seed,
      steps,
      heldOut,
      training,
      concurrency,
      signal,
    });
    const { before, after } = figures;
    const seconds = {
      install: chosen.installSeconds,
      ...figures.seconds,
      total: (performance.now() - startedAt) / 1000,
    };
    const { store, capture } = await apprentice.status();
    const result = { framework, model, serving, engine, seed, ...figures, seconds, store };
    if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(result, null, 2)}\n`);
    if (before !== undefined && after !== undefined) {
      const closing = chosen.closing(`${folder}/models/${task.name}/adapters`, folder);
      screen.table({ ...figures, before, after, seconds, store, closing, stored: capture.stored });
    }
  } finally {
    await apprentice.close({ timeoutMs: 10_000 });
    await chosen.close();
  }
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
