/** Options of the local backend, and whether they fit each other. */
import { z } from 'zod';
import { InvalidOptionError } from '../../errors.ts';
import {
  servingEngines,
  trainingEngines,
  type ServingEngineName,
  type TrainingEngineName,
} from './engines.ts';
import type { Device } from './machine/plan.ts';
import type { ModeOptions } from './modes/plan.ts';
import type { ModelOptions } from './models/registry.ts';
import { remoteSchema, type RemoteOptions } from './remote/options.ts';

export interface LocalBackendOptions {
  /** A ready interpreter with the sidecar's requirements. Default: an environment that is installed when first used. */
  readonly environment?: string;
  /** The Python to build environments on. Default: the first of python3, python. */
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
  /** What serves: docs/serving.md. Default: 'transformers', our own server, which needs no environment of its own. */
  readonly serving?: ServingEngineName;
  /** For serving 'vllm': a ready interpreter with vLLM. Default: an environment that is installed when first used. */
  readonly servingEnvironment?: string;
  /** For serving 'vllm' on GPUs: who has which. Default: one GPU, on which vLLM sleeps while a step is trained. */
  readonly mode?: ModeOptions;
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

const gpu = z.int().min(0);
const schema = z.strictObject({
  environment: z.string().min(1).optional(),
  python: z.string().min(1).optional(),
  threads: z.int().min(1).optional(),
  dtype: z.enum(['float32', 'bfloat16']).optional(),
  startTimeoutMs: z.int().min(1).optional(),
  training: z.enum([...trainingEngines, 'auto']).optional(),
  serving: z.enum(servingEngines).optional(),
  servingEnvironment: z.string().min(1).optional(),
  mode: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('shared'), gpu: gpu.optional() }),
      z.strictObject({
        kind: z.literal('dedicated'),
        servingGpus: z.array(gpu),
        trainingGpus: z.array(gpu),
        tensorParallelSize: z.int().min(1).optional(),
      }),
    ])
    .optional(),
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

/** Options that do not speak of a process on this machine. */
const anywhere = ['remote', 'startTimeoutMs'];
/** Throws InvalidOptionError with the field, the value received and the fix. */
export function checkOptions(options: LocalBackendOptions): void {
  const parsed = schema.safeParse(options);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const received = issue?.path.reduce<unknown>(
      (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
      options,
    );
    throw refuse(issue?.path.map(String).join('.') ?? '', received, {
      expected: issue?.message ?? 'valid',
      fix: 'See the docstring of LocalBackendOptions.',
    });
  }
  if (options.remote !== undefined) {
    for (const [field, received] of Object.entries(options)) {
      if (received === undefined || anywhere.includes(field)) continue;
      throw refuse(field, received, {
        expected: 'left out beside `remote`',
        fix: 'Give it to `apprentice-sidecar serve` on the other host: docs/remote.md.',
      });
    }
  }
  if (options.servingEnvironment !== undefined && options.serving !== 'vllm') {
    throw refuse('servingEnvironment', options.servingEnvironment, {
      expected: "left out unless serving is 'vllm'",
      fix: "Leave it out, or choose serving: 'vllm'.",
    });
  }
}

function refuse(
  field: string,
  received: unknown,
  details: { readonly expected: string; readonly fix: string },
): InvalidOptionError {
  return new InvalidOptionError({ field: `localBackend.${field}`, received, ...details });
}
