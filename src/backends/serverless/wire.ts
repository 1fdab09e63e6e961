/** The messages of the training API, lineage A (`/v1/preview/…`). Answers are checked; unknown keys are let be. */
import { z } from 'zod';

export const model = z.looseObject({
  id: z.string(),
  entity: z.string(),
  project: z.string(),
  name: z.string(),
  base_model: z.string(),
  /** Older servers leave it out. */
  run_id: z.string().nullish(),
});

export const checkpoint = z.looseObject({
  id: z.string(),
  step: z.int().nonnegative(),
  metrics: z.record(z.string(), z.number()).nullish(),
});

export const event = z.looseObject({
  id: z.string(),
  type: z.string(),
  data: z.record(z.string(), z.unknown()).nullish(),
});

export const created = z.looseObject({ id: z.string() });
export const deletedModel = z.looseObject({ deleted_checkpoints: z.int(), deleted_run: z.boolean() });
export const deletedCheckpoints = z.looseObject({
  deleted_count: z.int(),
  not_found_steps: z.array(z.int()).default([]),
});
export const baseModels = z.array(z.string());

export function listOf<T extends z.ZodType<{ id: string }>>(item: T) {
  return z.looseObject({ data: z.array(item), has_more: z.boolean().default(false) });
}

export type ServiceModel = z.infer<typeof model>;
export type ServiceCheckpoint = z.infer<typeof checkpoint>;
export type ServiceEvent = z.infer<typeof event>;

/** An OpenAI-style message; context only. */
export type WireMessage = Readonly<Record<string, unknown>> & { readonly role: string };

export interface WireChoice {
  readonly finish_reason: 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'function_call';
  readonly index: number;
  readonly logprobs: {
    readonly content: readonly {
      readonly token: string;
      readonly logprob: number;
      readonly bytes: null;
      readonly top_logprobs: readonly never[];
    }[];
    readonly refusal: null;
  };
  readonly message: WireMessage;
  readonly prompt_token_ids: readonly number[];
  readonly token_ids: readonly number[];
}

export interface WireHistory {
  readonly messages_and_choices: readonly (WireMessage | WireChoice)[];
  readonly tools: readonly unknown[] | null;
}

export interface WireTrajectory extends WireHistory {
  readonly additional_histories: readonly WireHistory[];
  readonly reward: number;
  readonly initial_policy_version: number | null;
  readonly final_policy_version: number | null;
  readonly metrics: Readonly<Record<string, number | boolean>>;
  readonly metadata: Readonly<Record<string, string | number | boolean | null>>;
  readonly logs: readonly string[];
}

export interface WireGroup {
  readonly trajectories: readonly WireTrajectory[];
  readonly exceptions: readonly never[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly metrics: Readonly<Record<string, number>>;
  readonly logs: readonly string[];
}

export interface SftConfig {
  readonly batch_size?: number;
  readonly learning_rate?: number | readonly number[];
  readonly assistant_turns?: 'all' | 'last';
  readonly metric_logging?: { readonly enabled: true; readonly target_training_step: number };
}
