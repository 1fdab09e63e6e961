import type { z } from 'zod';
import { InvalidRecordError } from '../errors.ts';
import { feedbackRecord, type NewFeedback } from './feedback.ts';
import { recordVersion, reward, trajectory, type Reward, type Trajectory } from './records.ts';

/** Validates a trajectory; throws InvalidRecordError with the field, the value received and the fix. */
export function parseTrajectory(value: unknown): Trajectory {
  return parseVersioned(trajectory, value);
}

/** As `parseTrajectory`, by another schema of the same record. */
export function parseVersioned<T>(schema: z.ZodType<T>, value: unknown): T {
  if (typeof value === 'object' && value !== null && 'recordVersion' in value) {
    const version = value.recordVersion;
    if (typeof version === 'number' && version > recordVersion) {
      throw new InvalidRecordError({
        field: 'recordVersion',
        received: version,
        expected: `at most ${String(recordVersion)}`,
        fix: 'It was written by a newer version of apprentice: upgrade this one.',
      });
    }
  }
  return parse(schema, value);
}

/** Validates a reward; throws InvalidRecordError. */
export function parseReward(value: unknown): Reward {
  return parse(reward, value);
}

/** Validates a piece of feedback; throws InvalidRecordError. */
export function parseFeedback(value: unknown): NewFeedback {
  return parse(feedbackRecord, value);
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  const received = path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
  throw new InvalidRecordError({
    field: path.map(String).join('.'),
    received,
    expected: issue?.message.replace(/^Invalid input: expected /, 'a ') ?? 'valid',
    fix: 'Records are made by the recorder and the rewards: change what is given to them.',
    cause: parsed.error,
  });
}
