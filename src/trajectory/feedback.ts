/**
 * Feedback: what people say of a run, now or days later. An append-only log of revisions; which trajectories a piece is
 * about is found by its target, whichever of the two comes first.
 */
import { z } from 'zod';

/** What feedback is about. All fields that are given must fit. */
export const feedbackTarget = z.strictObject({
  trajectoryId: z.string().min(1).optional(),
  /** The `id` of a model call in a recorded trajectory. */
  callId: z.string().min(1).optional(),
  messageId: z.string().min(1).optional(),
  /** The id that the model server gave to an answer. */
  responseId: z.string().min(1).optional(),
  /** The `runId` that `apprentice.run` was given. */
  runId: z.string().min(1).optional(),
  threadId: z.string().min(1).optional(),
  /** Business keys that `apprentice.run` was given: `{ order: 'A123' }`. */
  keys: z.record(z.string(), z.string()).optional(),
});

export const feedbackRecord = z.object({
  /** The same for all revisions of one piece. */
  id: z.string().min(1).max(200),
  project: z.string(),
  target: feedbackTarget,
  name: z.string().min(1),
  /** null: no number was given, or it was withdrawn. Missing is not 0. */
  value: z.number().nullable(),
  kind: z.enum(['boolean', 'number', 'text', 'withdrawn']),
  comment: z.string().optional(),
  /** The answer that should have been given. */
  correction: z.string().optional(),
  by: z.string().optional(),
  /** All runs of the target, or the last one that had begun. */
  applies: z.enum(['all', 'latest']),
  /** How long after the end of a run it can be meant, milliseconds; null: without limit. */
  windowMs: z.number().positive().nullable(),
  /** When it was given, milliseconds since the epoch. Of two revisions, the one given later holds. */
  at: z.number(),
});

/** From 1. Given by the store, in the order in which revisions come in. */
export type FeedbackRecord = z.infer<typeof feedbackRecord> & { readonly revision: number };
export type NewFeedback = z.infer<typeof feedbackRecord>;
export type FeedbackTarget = z.infer<typeof feedbackTarget>;

/** What became of a piece of feedback. */
export interface FeedbackReceipt {
  readonly id: string;
  /** `duplicate`: it was there already; `outdated`: a revision given later is there already. */
  readonly outcome: 'new' | 'revised' | 'duplicate' | 'outdated';
  readonly revision: number;
  /** Those that it is attached to by now. None: it waits for a trajectory that fits. */
  readonly trajectoryIds: readonly string[];
}
