/**
 * `apprentice/backends/local`: serves and trains on this machine, in a Python process that this package owns, or on
 * another host, where its owner started one.
 */
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import type { Backend, BackendContext } from '../backend.ts';
import { ensureEnvironment, type RequirementSet } from './install.ts';
import type { MachineFacts } from './machine/facts.ts';
import { planTraining, type TrainingPlan } from './machine/plan.ts';
import { probeMachine } from './machine/probe.ts';
import { planServing, type ServingPlan } from './machine/serving.ts';
import { planMode, trainingDevice } from './modes/plan.ts';
import { modelSettings, type ModelSettings } from './models/registry.ts';
import { checkOptions, type LocalBackendOptions } from './options.ts';
import { startRemote } from './remote/index.ts';
import { readRemoteOptions } from './remote/options.ts';
import { RunningLocalBackend } from './running.ts';
import { sameMachine } from './same-machine.ts';
import { Supervisor } from './supervisor.ts';
import { validateTraining } from './training-options.ts';

export { doctor } from './doctor.ts';
export type { DoctorOptions, DoctorReport, Possibility } from './doctor.ts';
export type { ServingEngineName, TrainingEngineName } from './engines.ts';
export { ensureEnvironment } from './install.ts';
export type { Environment, EnvironmentOptions, RequirementSet } from './install.ts';
export type { Gpu, MachineFacts } from './machine/facts.ts';
export type { Device, TrainingPlan } from './machine/plan.ts';
export type { ModeOptions } from './modes/plan.ts';
export { modelFamilies } from './models/families.ts';
export type { ModelFamily } from './models/families.ts';
export { modelSettings } from './models/registry.ts';
export type { ModelOptions, ModelSettings } from './models/registry.ts';
export { tinyModelFolder } from './locations.ts';
export type { LocalBackendOptions } from './options.ts';
export type { RemoteOptions } from './remote/options.ts';
export type { RunningLocalBackend } from './running.ts';

/** With what only this one has: weights from elsewhere are adopted. */
export type LocalBackend = Backend<RunningLocalBackend>;

/** The local backend. Throws InvalidOptionError. Nothing is started or installed before it is used. */
export function localBackend(options: LocalBackendOptions = {}): LocalBackend {
  checkOptions(options);
  const startTimeoutMs = options.startTimeoutMs ?? 120_000;
  if (options.remote !== undefined) {
    const address = readRemoteOptions(options.remote);
    return {
      kind: 'local',
      validate: validateTraining,
      start: (context) => startRemote(context, address, startTimeoutMs),
    };
  }
  return {
    kind: 'local',
    validate: validateTraining,
    start: (context) => startHere(context, options, startTimeoutMs),
  };
}

async function startHere(
  context: BackendContext,
  options: LocalBackendOptions,
  startTimeoutMs: number,
): Promise<RunningLocalBackend> {
  const say = (message: string): void => context.onProgress?.({ stage: 'environment', message });
  const model = await modelSettings(context.baseModel, options.model);
  const { training, serving } = planBoth(await probeMachine(), options, model);
  for (const message of [...training.because, serving.because, ...training.warnings]) say(message);
  const environment = async (set: RequirementSet): Promise<string> =>
    (
      await ensureEnvironment({
        set,
        ...(options.python === undefined ? {} : { python: options.python }),
        ...(context.signal === undefined ? {} : { signal: context.signal }),
        onProgress: say,
      })
    ).python;
  const root = resolve(context.folder);
  const supervisor = new Supervisor({
    python: options.environment ?? (await environment(training.set)),
    threads: options.threads ?? availableParallelism(),
    dtype: training.dtype,
    startTimeoutMs,
    training: training.training,
    serving:
      serving.serving === 'transformers'
        ? { engine: 'transformers' }
        : {
            engine: 'vllm',
            python: options.servingEnvironment ?? (await environment(serving.set)),
            ...(serving.mode === undefined ? {} : { mode: serving.mode }),
          },
    device: training.device,
    quantization: options.quantization ?? 'none',
    model,
    baseModel: context.baseModel,
    runFolder: join(root, 'run'),
    onProgress: (stage, message) => context.onProgress?.({ stage, message }),
  });
  const running = new RunningLocalBackend(context, {
    host: supervisor,
    transfer: sameMachine(root),
    loraTargets: model.loraTargets,
  });
  try {
    await running.endpoint('base', context.signal);
  } catch (error) {
    await running.close();
    throw error;
  }
  return running;
}

/** Throws InvalidOptionError for what cannot work on this machine. */
function planBoth(
  machine: MachineFacts,
  options: LocalBackendOptions,
  model: ModelSettings,
): { readonly training: TrainingPlan; readonly serving: ServingPlan } {
  const { serving = 'transformers', device = 'auto' } = options;
  const { attentionHeads } = model;
  const heads = attentionHeads === undefined ? {} : { attentionHeads };
  const mode =
    options.mode === undefined
      ? undefined
      : planMode(options.mode, { gpus: machine.gpus, serving, ...heads });
  const training = planTraining(machine, {
    training: options.training ?? 'auto',
    device: mode === undefined ? device : trainingDevice(mode, device),
    quantization: options.quantization ?? 'none',
    ...(options.dtype === undefined ? {} : { dtype: options.dtype }),
    model,
  });
  const divided = mode === undefined ? {} : { mode };
  return {
    training,
    serving: planServing(machine, { serving, device: training.device, ...divided }),
  };
}
