#!/usr/bin/env node
/** `npx -p apprentice wandb-stand-in`: the stand-in as a process of its own, for a CI. Ends with SIGINT or SIGTERM. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { scriptedEngine } from './scripted-engine.ts';
import { startSidecarEngine } from './sidecar-engine.ts';
import { startWandbServer } from './index.ts';

const usage = `Usage: wandb-stand-in [options]

  --port N           default: a free one
  --folder DIR       keeps models, checkpoints, jobs and runs there; default: in memory
  --api-key KEY      the only key that it takes; default: stand-in-key
  --entity NAME      default: stand-in
  --base-model DIR   folder or hub id of the model to train; default: a tiny one, where the repository is there
  --base-model-id ID the id under which clients ask for it; default: apprentice/tiny
  --learning-rate N  where a job names none; default: 5e-6
  --scripted         no model and no Python: always the same answer, nothing is learnt
  --help

Prints one line of JSON when it is ready: {"trainingUrl", "wandbUrl", "baseModels"}.
`;

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    folder: { type: 'string' },
    'api-key': { type: 'string' },
    entity: { type: 'string' },
    'base-model': { type: 'string' },
    'base-model-id': { type: 'string' },
    'learning-rate': { type: 'string' },
    scripted: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}

const { folder, 'api-key': apiKey, entity, 'base-model': baseModel, 'base-model-id': baseModelId } = values;
const engine = values.scripted
  ? scriptedEngine()
  : await startSidecarEngine({
      ...(baseModel === undefined ? {} : { baseModel }),
      ...(baseModelId === undefined ? {} : { baseModelId }),
      ...(folder === undefined ? {} : { folder: join(folder, 'engine') }),
      onProgress: (message) => {
        process.stderr.write(`${message}\n`);
      },
    });
const server = await startWandbServer({
  engine,
  ...(values.port === undefined ? {} : { port: number('port', values.port) }),
  ...(folder === undefined ? {} : { folder }),
  ...(apiKey === undefined ? {} : { apiKey }),
  ...(entity === undefined ? {} : { entity }),
  ...(values['learning-rate'] === undefined
    ? {}
    : { defaults: { learningRate: number('learning-rate', values['learning-rate']) } }),
});
const { trainingUrl, wandbUrl } = server;
process.stdout.write(`${JSON.stringify({ trainingUrl, wandbUrl, baseModels: engine.baseModels })}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    void server.close().then(() => process.exit(0));
  });

function number(name: string, text: string): number {
  const found = Number(text);
  if (Number.isFinite(found) && found > 0) return found;
  process.stderr.write(`--${name} must be a number above 0, but it is "${text}".\n`);
  process.exit(2);
}
