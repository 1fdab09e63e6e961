/**
 * `apprentice/backends/local`: serves and trains on this machine, in a Python process that this package owns, or on
 * another host, where its owner started one.
 */
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { InvalidOptionError } from '../../errors.ts';
import type { Backend } from '../backend.ts';
import { trainingEngines, type TrainingEngineName } from './engines.ts';
import { ensureEnvironment } from './install.ts';
import { planTraining, type Device } from './machine/plan.ts';
import { probeMachine } from './machine/probe.ts';
import { modelSettings, type ModelOptions } from './models/registry.ts';
import { startRemote } from './remote/index.ts';
import { readRemoteOptions, remoteSchema, type RemoteOptions } from './remote/options.ts';
import { RunningLocalBackend } from './running.ts';
import { sameMachine } from './same-machine.ts';
import { Supervisor } from './supervisor.ts';
import { validateTraining } from './training-options.ts';

export { doctor } from './doctor.ts';
export type { DoctorOptions, DoctorReport, Possibility } from './doctor.ts';
export type { TrainingEngineName } from './engines.ts';
export { ensureEnvironment } from './install.ts';
export type { Environment, EnvironmentOptions, RequirementSet } from './install.ts';
export type { Gpu, MachineFacts } from './machine/facts.ts';
export type { Device, TrainingPlan } from './machine/plan.ts';
export { modelFamilies } from './models/families.ts';
export type { ModelFamily } from './models/families.ts';
export { modelSettings } from './models/registry.ts';
export type { ModelOptions, ModelSettings } from './models/registry.ts';
export { tinyModelFolder } from './locations.ts';
export type { RemoteOptions } from './remote/options.ts';
export type { RunningLocalBackend } from './running.ts';

export interface LocalBackendOptions {
  /** A ready interpreter with the sidecar's requirements. Default: an environment that is installed when first used. */
  readonly environment?: string;
  /** The Python to build the environment on. Default: the first of python3, python. */
  readonly python?: string;
  /** The most OpenMP threads; how many pay is measured, for serving and for each training job. Default: all cores. */
  readonly threads?: number;
  /** Precision of the base model. Default: 'float32' on a CPU, the faster one on most; 'bfloat16' on a GPU that has it. */
  readonly dtype?: 'float32' | 'bfloat16';
  /**
   * What trains: docs/training-engines.md. Default: 'auto', transformers on every machine, or Unsloth where `gpu-check`
   * has found on this machine that it computes the same.
   */
  readonly training?: TrainingEngineName | 'auto';
  /** Where the base model lies. Default: 'auto', the GPU with the most free memory, or the CPU; the report says why. */
  readonly device?: Device | 'auto';
  /** Weights to train on: '4bit' needs training 'unsloth', and differs from what is served. Default: 'none'. */
  readonly quantization?: '4bit' | 'none';
  /** What the registry does not know about the base model. */
  readonly model?: ModelOptions;
  /**
   * How long the sidecar may say nothing while it starts, or a remote one be away, milliseconds. Default: 120 000.
   */
  readonly startTimeoutMs?: number;
  /** A sidecar that runs on another host: docs/remote.md. Nothing is installed or started here. */
  readonly remote?: RemoteOptions;
}

const schema = z.strictObject({
  environment: z.string().min(1).optional(),
  python: z.string().min(1).optional(),
  threads: z.int().min(1).optional(),
  dtype: z.enum(['float32', 'bfloat16']).optional(),
  startTimeoutMs: z.int().min(1).optional(),
  training: z.enum([...trainingEngines, 'auto']).optional(),
  device: z.union([z.enum(['auto', 'cpu', 'cuda']), z.templateLiteral(['cuda:', z.int().min(0)])]).optional(),
  quantization: z.enum(['4bit', 'none']).optional(),
  model: z
    .strictObject({
      toolCallParser: z.string().min(1).nullable(),
      reasoningParser: z.string().min(1).nullable(),
      chatTemplateKwargs: z.record(z.string(), z.unknown()),
      loraTargets: z.array(z.string().min(1)).min(1),
      contextLength: z.int().min(16),
    })
    .partial()
    .optional(),
  remote: remoteSchema.optional(),
});

/** Options that speak of a process on this machine. */
const ownProcess = [
  'environment',
  'python',
  'threads',
  'dtype',
  'training',
  'device',
  'quantization',
  'model',
] as const;

/** With what only this one has: weights from elsewhere are adopted. */
export type LocalBackend = Backend<RunningLocalBackend>;

/** The local backend. Throws InvalidOptionError. Nothing is started or installed before it is used. */
export function localBackend(options: LocalBackendOptions = {}): LocalBackend {
  const parsed = schema.safeParse(options);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.map(String).join('.') ?? '';
    const received = issue?.path.reduce<unknown>(
      (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
      options,
    );
    throw new InvalidOptionError({
      field: `localBackend.${field}`,
      received,
      expected: issue?.message ?? 'valid',
      fix: 'See the docstring of LocalBackendOptions.',
    });
  }
  const startTimeoutMs = options.startTimeoutMs ?? 120_000;
  if (options.remote !== undefined) {
    for (const field of ownProcess) {
      if (options[field] === undefined) continue;
      throw new InvalidOptionError({
        field: `localBackend.${field}`,
        received: options[field],
        expected: 'left out beside `remote`',
        fix: 'Give it to `apprentice-sidecar serve` on the other host: docs/remote.md.',
      });
    }
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
    async start(context) {
      const model = await modelSettings(context.baseModel, options.model);
      const plan = planTraining(await probeMachine(), {
        training: options.training ?? 'auto',
        device: options.device ?? 'auto',
        quantization: options.quantization ?? 'none',
        ...(options.dtype === undefined ? {} : { dtype: options.dtype }),
        model,
      });
      for (const message of [plan.because.join(' '), ...plan.warnings])
        context.onProgress?.({ stage: 'environment', message });
      const environment =
        options.environment ??
        (
          await ensureEnvironment({
            set: plan.set,
            ...(options.python === undefined ? {} : { python: options.python }),
            ...(context.signal === undefined ? {} : { signal: context.signal }),
            onProgress: (message) => context.onProgress?.({ stage: 'environment', message }),
          })
        ).python;
      const root = resolve(context.folder);
      const supervisor = new Supervisor({
        python: environment,
        threads: options.threads ?? availableParallelism(),
        dtype: plan.dtype,
        startTimeoutMs,
        training: plan.training,
        device: plan.device,
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
    },
  };
}
