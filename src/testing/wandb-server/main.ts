#!/usr/bin/env node
/** `npx -p apprentice wandb-stand-in`: the stand-in as a process of its own, for a CI. Ends with SIGINT or SIGTERM. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { tinyModelFolder } from '../../backends/local/locations.ts';
import type { WandbEngine } from './engine.ts';
import { startWandbServer } from './index.ts';
import { scriptedEngine } from './scripted-engine.ts';
import { startSidecarEngine } from './sidecar-engine.ts';

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

function readArguments() {
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
  return values;
}

type Arguments = ReturnType<typeof readArguments>;

async function main(): Promise<void> {
  const values = readArguments();
  if (values.help) {
    process.stdout.write(usage);
    return;
  }
  const { folder, port, entity, 'api-key': apiKey, 'learning-rate': rate } = values;
  const engine = await startEngine(values);
  const server = await startWandbServer({
    engine,
    ...(port === undefined ? {} : { port: positive('port', port) }),
    ...(folder === undefined ? {} : { folder }),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(entity === undefined ? {} : { entity }),
    ...(rate === undefined ? {} : { defaults: { learningRate: positive('learning-rate', rate) } }),
  });
  const { trainingUrl, wandbUrl } = server;
  process.stdout.write(`${JSON.stringify({ trainingUrl, wandbUrl, baseModels: engine.baseModels })}\n`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      void server.close().then(() => process.exit(0));
    });
}

async function startEngine(values: Arguments): Promise<WandbEngine> {
  const { scripted, folder, 'base-model': baseModel, 'base-model-id': baseModelId } = values;
  if (scripted) return scriptedEngine();
  if (baseModel === undefined && !existsSync(tinyModelFolder()))
    fail(
      'Give --base-model: the tiny model comes with the repository only. Or --scripted, without any model.',
    );
  return startSidecarEngine({
    ...(baseModel === undefined ? {} : { baseModel }),
    ...(baseModelId === undefined ? {} : { baseModelId }),
    ...(folder === undefined ? {} : { folder: join(folder, 'engine') }),
    onProgress: (message) => {
      process.stderr.write(`${message}\n`);
    },
  });
}

function positive(name: string, text: string): number {
  const found = Number(text);
  if (Number.isFinite(found) && found > 0) return found;
  return fail(`--${name} must be a number above 0, but it is "${text}".`);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

main().catch((error: unknown) => {
  fail(String(error));
});
