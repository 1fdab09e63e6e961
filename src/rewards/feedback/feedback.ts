/** What users of `apprentice.feedback` write, and the record that becomes of it. */
import { z } from 'zod';
import { InvalidOptionError } from '../../errors.ts';
import { feedbackId, lookupsOfTarget } from '../../store/attribution.ts';
import { feedbackTarget, type FeedbackTarget, type NewFeedback } from '../../trajectory/feedback.ts';

/** A thumb, a number, a comment, a correction, or several of them together. */
export interface Feedback {
  /** What is judged: `resolved`, `helpful`. */
  readonly name: string;
  /** `true` counts 1, `false` 0. null withdraws what was said before under this name by this author. */
  readonly value?: number | boolean | null;
  readonly comment?: string;
  /** The answer that should have been given. */
  readonly correction?: string;
  /** Who says so. Two people do not revise each other. */
  readonly by?: string;
  /**
   * Your own id of this piece: sending it again revises it. Default: made of target, name and author, so that the same
   * person judging the same thing again revises, too.
   */
  readonly id?: string;
  /** When it was given: a Date or milliseconds since the epoch. Default: now. */
  readonly at?: number | Date;
}

export interface FeedbackOptions {
  /**
   * How long after the end of a run it can be meant, milliseconds. Default: 7 days for a thread or a business key,
   * under which many runs come together; without limit (Infinity) for what names one run.
   */
  readonly windowMs?: number;
  /** Whether it is about all runs of the target, or only the last that had begun. Default: 'all'. */
  readonly applies?: 'all' | 'latest';
}

const defaultWindowMs = 7 * 24 * 60 * 60 * 1000;

const schema = z.object({
  name: z.string().min(1),
  value: z.union([z.number(), z.boolean(), z.null()]).optional(),
  comment: z.string().min(1).optional(),
  correction: z.string().min(1).optional(),
  by: z.string().min(1).optional(),
  id: z.string().min(1).max(200).optional(),
  at: z.union([z.number(), z.date()]).optional(),
});
const optionsSchema = z.object({
  windowMs: z.union([z.number().positive(), z.literal(Infinity)]).optional(),
  applies: z.enum(['all', 'latest']).optional(),
});

/** Validates what a user wrote; throws InvalidOptionError with the field, the value received and the fix. */
export function toFeedbackRecord(given: {
  readonly project: string;
  readonly target: FeedbackTarget;
  readonly feedback: Feedback;
  readonly options: FeedbackOptions;
  readonly now: number;
}): NewFeedback {
  const { project, target, feedback, options, now } = given;
  check(
    feedbackTarget,
    target,
    'target',
    'Give trajectoryId, callId, messageId, responseId, runId, threadId or keys.',
  );
  if (lookupsOfTarget(target).length === 0) {
    throw new InvalidOptionError({
      field: 'target',
      received: target,
      expected:
        'an object with trajectoryId, callId, messageId, responseId, runId, threadId or at least one of keys',
      fix: 'Say what the feedback is about.',
    });
  }
  check(schema, feedback, 'feedback', 'Use for instance { name: "resolved", value: true }.');
  check(optionsSchema, options, 'options', 'Give windowMs in milliseconds, Infinity for no limit.');
  const { name, value, comment, correction, by } = feedback;
  if (value === undefined && comment === undefined && correction === undefined) {
    throw new InvalidOptionError({
      field: 'feedback.value',
      received: undefined,
      expected: 'given where there is neither a comment nor a correction',
      fix: 'Use for instance true for a thumb up and false for a thumb down.',
    });
  }
  const windowMs = options.windowMs ?? (namesOneRun(target) ? Infinity : defaultWindowMs);
  return {
    id: feedback.id ?? feedbackId({ project, target, name, by }),
    project,
    target,
    name,
    value: typeof value === 'boolean' ? Number(value) : (value ?? null),
    kind: kindOf(value),
    ...(comment === undefined ? {} : { comment }),
    ...(correction === undefined ? {} : { correction }),
    ...(by === undefined ? {} : { by }),
    applies: options.applies ?? 'all',
    windowMs: Number.isFinite(windowMs) ? windowMs : null,
    at: feedback.at === undefined ? now : Number(feedback.at),
  };
}

function kindOf(value: Feedback['value']): NewFeedback['kind'] {
  if (value === undefined) return 'text';
  if (value === null) return 'withdrawn';
  return typeof value === 'boolean' ? 'boolean' : 'number';
}

function namesOneRun({ trajectoryId, callId, messageId, responseId, runId }: FeedbackTarget): boolean {
  return [trajectoryId, callId, messageId, responseId, runId].some((one) => one !== undefined);
}

function check(type: z.ZodType, value: unknown, field: string, fix: string): void {
  const parsed = type.safeParse(value);
  if (parsed.success) return;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  throw new InvalidOptionError({
    field: [field, ...path.map(String)].join('.'),
    received: path.reduce<unknown>(
      (inner, key) =>
        typeof inner === 'object' && inner !== null
          ? (inner as Record<PropertyKey, unknown>)[key]
          : undefined,
      value,
    ),
    expected: issue?.message.replace(/^Invalid input: expected /, 'a ') ?? 'valid',
    fix,
    cause: parsed.error,
  });
}
