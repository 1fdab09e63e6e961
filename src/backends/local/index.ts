/** `apprentice/backends/local`: serves and trains on this machine, in a Python process that this package owns. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { InvalidOptionError } from '../../errors.ts';
import type { Backend } from '../backend.ts';
import { ensureEnvironment } from './install.ts';
import { RunningLocalBackend } from './running.ts';
import { validateTraining } from './training-options.ts';

export { ensureEnvironment } from './install.ts';
export type { Environment, EnvironmentOptions } from './install.ts';
export { tinyModelFolder } from './locations.ts';
export type { RunningLocalBackend } from './running.ts';

export interface LocalBackendOptions {
  /** A ready interpreter with the sidecar's requirements. Default: an environment that is installed when first used. */
  readonly environment?: string;
  /** The Python to build the environment on. Default: the first of python3, python. */
  readonly python?: string;
  /** OpenMP threads. Default: 1 up to two cores, otherwise half of them. */
  readonly threads?: number;
  /** Precision of the base model. Default: 'float32', which is the faster one on most CPUs. */
  readonly dtype?: 'float32' | 'bfloat16';
  /** Default: 120 000. */
  readonly startTimeoutMs?: number;
}

const schema = z.strictObject({
  environment: z.string().min(1).optional(),
  python: z.string().min(1).optional(),
  threads: z.int().min(1).optional(),
  dtype: z.enum(['float32', 'bfloat16']).optional(),
  startTimeoutMs: z.int().min(1).optional(),
});

/** With what only this one has: weights from elsewhere are adopted. */
export type LocalBackend = Backend<RunningLocalBackend>;

/** The local backend. Throws InvalidOptionError. Nothing is started or installed before it is used. */
export function localBackend(options: LocalBackendOptions = {}): LocalBackend {
  const parsed = schema.safeParse(options);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.map(String).join('.') ?? '';
    const received = (options as Record<string, unknown>)[field];
    throw new InvalidOptionError({
      field: `localBackend.${field}`,
      received,
      expected: issue?.message ?? 'valid',
      fix: 'See the docstring of LocalBackendOptions.',
    });
  }
  return {
    kind: 'local',
    validate: validateTraining,
    async start(context) {
      const environment =
        options.environment ??
        (
          await ensureEnvironment({
            ...(options.python === undefined ? {} : { python: options.python }),
            ...(context.signal === undefined ? {} : { signal: context.signal }),
            onProgress: (message) => context.onProgress?.({ stage: 'environment', message }),
          })
        ).python;
      const running = new RunningLocalBackend(context, {
        python: environment,
        threads: options.threads ?? Math.max(1, Math.floor(availableParallelism() / 2)),
        dtype: options.dtype ?? 'float32',
        startTimeoutMs: options.startTimeoutMs ?? 120_000,
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
