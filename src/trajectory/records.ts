/**
 * The records that everything stands on: trajectory, model call, tool result, reward, group. Versioned by
 * `recordVersion`; a reader refuses a newer version politely. Types are derived from the schemas.
 */
import { z } from 'zod';
import type { FeedbackRecord } from './feedback.ts';
import { modelCallId, trajectoryId } from './ids.ts';
import { json, logprobs, tokenIds } from './plain-data.ts';

export const recordVersion = 1;

/** Milliseconds since the epoch. */
const timestamp = z.number();

/** An OpenAI-style message, as it went over the wire or as normalised from a framework. Kept open on purpose. */
export const message = z.looseObject({
  role: z.string(),
  content: json.optional(),
});

/** Why a call cannot be trained on; `yes` where it can. The tokens are kept either way, where there are any. */
export const trainability = z.discriminatedUnion('trainable', [
  z.object({ trainable: z.literal(true) }),
  z.object({
    trainable: z.literal(false),
    reason: z.enum([
      'incumbent', // answered by the user's own model: no token ids
      'no-token-ids',
      'token-count-mismatch', // ids ≠ usage count
      'no-logprobs',
      'temperature-not-1', // logprobs are the model's own; other sampling is off-policy in a way that we do not correct
      'top-p-not-1',
      'incomplete', // aborted, failed, cancelled or abandoned
      'fallback', // the policy failed and the incumbent answered
      'side-call', // marked by the user as not part of the task
    ]),
    detail: z.string().optional(),
  }),
]);

export const callStatus = z.discriminatedUnion('status', [
  z.object({ status: z.literal('ok') }),
  z.object({ status: z.literal('aborted') }), // the caller's AbortSignal
  z.object({ status: z.literal('cancelled') }), // the consumer stopped reading
  z.object({ status: z.literal('error'), error: z.object({ name: z.string(), message: z.string() }) }),
  z.object({ status: z.literal('abandoned') }), // neither end nor cancel came before the run was closed
]);

/** What was sampled, token by token. All arrays are parallel to `completionIds`. */
export const tokens = z.object({
  promptIds: tokenIds,
  completionIds: tokenIds,
  /** Log-probabilities (natural log) of `completionIds`; null where the server gave none. */
  logprobs,
  /** Whether logprobs are of the raw model distribution or after temperature, top-p and masks. */
  logprobsMode: z.enum(['raw', 'processed']),
});

export const usage = z.object({
  inputTokens: z.int().nonnegative().optional(),
  outputTokens: z.int().nonnegative().optional(),
  /** The part of `inputTokens` that the provider had in its cache, and bills at another price. */
  cachedInputTokens: z.int().nonnegative().optional(),
  /** The part of `inputTokens` that was written to that cache. */
  cacheWriteTokens: z.int().nonnegative().optional(),
});

/** What the provider charges for a call, in US dollars: from a price table, or from prices that the user gave. */
export const cost = z.object({ usd: z.number().nonnegative(), source: z.enum(['price-table', 'user']) });

/** Who answered. `policy` is `name@step`, `base` for the bare base model, null for the incumbent. */
export const served = z.object({
  requestedModel: z.string(),
  respondedModel: z.string().optional(),
  provider: z.string().optional(),
  policy: z.string().nullable(),
  baseDigest: z.string().optional(),
  tokenizerDigest: z.string().optional(),
  chatTemplateDigest: z.string().optional(),
  /** Probability with which the router chose this model for the trajectory. */
  propensity: z.number().min(0).max(1).default(1),
});

export const modelCall = z.object({
  kind: z.literal('model-call'),
  id: modelCallId,
  index: z.int().nonnegative(),
  parentCallId: modelCallId.optional(),
  adapter: z.string(), // 'ai-sdk' | 'langchain' | 'openai' | …
  specification: z.string().optional(), // 'v2' | 'v3' | 'v4' of the AI SDK
  served,
  request: z.object({
    messages: z.array(message),
    tools: z.array(json).default([]),
    toolSchemaDigest: z.string().optional(),
    parameters: z.record(z.string(), json).default({}), // temperature, topP, seed, stop, toolChoice, responseFormat …
  }),
  response: z.object({
    id: z.string().optional(),
    message: message.nullable(),
    finishReason: z.string().optional(),
    usage: usage.default({}),
  }),
  /** Left out where the price is not known, and for policies that we serve ourselves. */
  cost: cost.optional(),
  tokens: tokens.nullable(),
  trainability,
  outcome: callStatus,
  streamed: z.boolean(),
  retryOf: modelCallId.optional(),
  startedAt: timestamp,
  firstTokenAt: timestamp.optional(),
  endedAt: timestamp.optional(),
});

export const toolResult = z.object({
  kind: z.literal('tool-result'),
  index: z.int().nonnegative(),
  toolCallId: z.string(),
  toolName: z.string(),
  input: json.optional(),
  output: json.optional(),
  error: z.string().optional(),
  effect: z.enum(['read', 'write', 'unknown']).default('unknown'),
  at: timestamp,
});

export const event = z.discriminatedUnion('kind', [modelCall, toolResult]);

export const reward = z.object({
  id: z.string(),
  trajectoryId,
  callId: modelCallId.optional(),
  name: z.string().min(1),
  value: z.number(),
  source: z.discriminatedUnion('type', [
    z.object({ type: z.literal('code'), name: z.string() }),
    z.object({ type: z.literal('judge'), name: z.string(), model: z.string().optional() }),
    z.object({ type: z.literal('feedback'), by: z.string().optional() }),
  ]),
  explanation: z.string().optional(),
  /** Figures beside the value: how many judges voted, how far they agree … */
  details: z.record(z.string(), z.number()).optional(),
  createdAt: timestamp,
});

export const split = z.enum(['train', 'validation', 'test', 'production']);

export const trajectory = z.object({
  recordVersion: z.literal(recordVersion),
  id: trajectoryId,
  project: z.string(),
  name: z.string(),
  parentId: trajectoryId.optional(),
  /** The model call (in the parent trajectory) inside whose tool this run began. */
  parentCallId: modelCallId.optional(),
  scenario: z.string().nullable(),
  groupId: z.string().nullable(),
  split,
  threadId: z.string().nullable(),
  messageId: z.string().nullable(),
  /** The user's own id of this run: a LangGraph run, a trace. */
  runId: z.string().optional(),
  /** What the user's business calls this run: `{ order: 'A123' }`. Feedback finds the run by them. */
  keys: z.record(z.string(), z.string()).optional(),
  policy: z.string().nullable(),
  /** The published step at which the rollout began; null in production. */
  step: z.int().nonnegative().nullable(),
  outcome: z.discriminatedUnion('status', [
    z.object({ status: z.literal('finished') }),
    z.object({ status: z.literal('failed'), error: z.object({ name: z.string(), message: z.string() }) }),
    z.object({ status: z.literal('timed-out') }),
    z.object({ status: z.literal('aborted') }),
    z.object({ status: z.literal('abandoned') }),
  ]),
  events: z.array(event),
  metadata: z.record(z.string(), json).default({}),
  metrics: z.record(z.string(), z.number()).default({}),
  startedAt: timestamp,
  endedAt: timestamp,
});

export type Message = z.infer<typeof message>;
export type Trainability = z.infer<typeof trainability>;
export type CallOutcome = z.infer<typeof callStatus>;
export type Tokens = z.infer<typeof tokens>;
export type Served = z.infer<typeof served>;
export type ModelCall = z.infer<typeof modelCall>;
export type ToolResult = z.infer<typeof toolResult>;
export type TrajectoryEvent = z.infer<typeof event>;
export type Usage = z.infer<typeof usage>;
export type Cost = z.infer<typeof cost>;
export type Reward = z.infer<typeof reward>;
export type Split = z.infer<typeof split>;
export type Trajectory = z.infer<typeof trajectory>;

/** A trajectory with what the store holds on it. */
export interface ScoredTrajectory {
  readonly trajectory: Trajectory;
  /** Of code and judges. What people said is in `feedback`. */
  readonly rewards: readonly Reward[];
  /** What people said, each piece in its current revision; withdrawn pieces are left out. */
  readonly feedback: readonly FeedbackRecord[];
}

/** Trajectories of one scenario on one policy; advantages are computed inside it. */
export interface Group {
  readonly groupId: string;
  readonly scenario: string | null;
  readonly trajectories: readonly ScoredTrajectory[];
}
