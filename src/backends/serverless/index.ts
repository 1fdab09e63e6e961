/** `apprentice/backends/serverless`: trains and serves at W&B Training, without any GPU of one's own. */
import { join, resolve } from 'node:path';
import { InvalidOptionError } from '../../errors.ts';
import type { Backend, BackendContext } from '../backend.ts';
import { TrainingServiceClient } from './client.ts';
import { ServiceHttp } from './http.ts';
import { JobRecords } from './job-records.ts';
import {
  parseOptions,
  validateTraining,
  type ServerlessBackendOptions,
  type ServerlessSettings,
} from './options.ts';
import { RunningServerlessBackend } from './running.ts';
import { Secret } from './secret.ts';
import { WandbGraphql } from './wandb/graphql.ts';

export type { ServerlessBackendOptions, ServiceConfig } from './options.ts';
export type { RunningServerlessBackend } from './running.ts';
export type { SupervisedExample, SupervisedMessage, SupervisedOptions } from './supervised.ts';

/** With what only a service has: learning from examples, downloads, charts. */
export type ServerlessBackend = Backend<RunningServerlessBackend>;

/**
 * The serverless backend. Throws InvalidOptionError, also where there is no key. Nothing is sent before it is used.
 * The base model is one of those that the service offers, and is checked at the start.
 */
export function serverlessBackend(options: ServerlessBackendOptions = {}): ServerlessBackend {
  const settings = parseOptions(options);
  const secret = Secret.resolve(options.apiKey);
  return {
    kind: 'serverless',
    validate: (wanted) => {
      validateTraining(settings, wanted);
    },
    start: (context) => start(settings, secret, context),
  };
}

async function start(
  settings: ServerlessSettings,
  secret: Secret,
  context: BackendContext,
): Promise<RunningServerlessBackend> {
  const { name, baseModel, folder, signal, onProgress } = context;
  const http = new ServiceHttp({ secret, ...settings });
  const client = new TrainingServiceClient(http, settings.trainingUrl);
  const say = (message: string): void => onProgress?.({ stage: 'start', message });
  say(`Registering ${name} at ${new URL(settings.trainingUrl).host}`);
  const offered = await client.baseModels(signal);
  if (offered !== undefined && !offered.includes(baseModel)) {
    throw new InvalidOptionError({
      field: 'baseModel',
      received: baseModel,
      expected: `one that the service trains: ${offered.join(', ')}`,
      fix: 'Choose one of them.',
    });
  }
  const project = settings.project ?? context.project;
  const { entity } = settings;
  const wanted = { project, name, baseModel, ...(entity === undefined ? {} : { entity }) };
  const model = await client.registerModel(wanted, signal);
  if (model.base_model !== baseModel) {
    throw new InvalidOptionError({
      field: 'baseModel',
      received: baseModel,
      expected: `${model.base_model}, on which ${model.entity}/${model.project}/${model.name} was begun`,
      fix: 'Use that base model, or another `name`.',
    });
  }
  say(`${model.entity}/${model.project}/${model.name} on ${model.base_model}`);
  const records = new JobRecords(join(resolve(folder), 'models', name, 'serverless-jobs'));
  const wandb = new WandbGraphql(http, settings.wandbUrl);
  return new RunningServerlessBackend({ settings, secret, http, client, wandb, model, records, say });
}
