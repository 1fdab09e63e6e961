/** What the local engine can be asked to train with. */
import { z } from 'zod';
import { InvalidOptionError } from '../../errors.ts';
import type { Backend } from '../backend.ts';

const positive = z.number().positive();
const notNegative = z.number().min(0);
const training = z.strictObject({
  advantages: z.strictObject({ scaleByStandardDeviation: z.boolean() }).partial().optional(),
  concurrency: z.int().min(1).optional(),
  callRewards: z.boolean().optional(),
  loss: z
    .strictObject({
      kind: z.enum(['cispo', 'ppo']),
      clipLow: notNegative,
      clipHigh: notNegative,
      importanceSampling: z.enum(['token', 'sequence']),
      klCoefficient: notNegative,
      truncatedImportanceSampling: positive.nullable(),
      entropyCoefficient: z.number(),
    })
    .partial()
    .optional(),
  optimizer: z
    .strictObject({
      learningRate: positive,
      betas: z.tuple([notNegative.lt(1), notNegative.lt(1)]),
      weightDecay: notNegative,
      maxGradNorm: positive,
      epochs: z.int().min(1),
      gradientSteps: z.int().min(1),
      tokensPerBatch: z.int().min(16),
    })
    .partial()
    .optional(),
  lora: z
    .strictObject({
      rank: z.int().min(1).max(512),
      alpha: positive,
      targetModules: z.array(z.string().min(1)).min(1),
      seed: z.int().min(0),
    })
    .partial()
    .optional(),
});

/** Throws InvalidOptionError with the field, the value received and the fix. */
export function validateTraining(options: Parameters<Backend['validate']>[0]): void {
  const parsed = training.safeParse(options);
  if (parsed.success) return;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  const received = path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    options,
  );
  throw new InvalidOptionError({
    field: path.map(String).join('.'),
    received,
    expected: issue?.message ?? 'valid',
    fix: 'See the docstrings of LossOptions, OptimizerOptions and LoraOptions.',
  });
}
