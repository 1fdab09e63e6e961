/** The bodies that the service takes (§5, §7, §8 of its protocol), and its answer to others: FastAPI's 422. */
import { z } from 'zod';
import { HttpError } from './http.ts';

const logprobEntry = z.looseObject({ token: z.string(), logprob: z.number() });
const message = z.looseObject({
  role: z.enum(['developer', 'system', 'user', 'assistant', 'tool', 'function']),
});
const choice = z.looseObject({
  finish_reason: z.enum(['stop', 'length', 'tool_calls', 'content_filter', 'function_call']),
  index: z.int().optional(),
  logprobs: z
    .looseObject({
      content: z.array(logprobEntry).nullish(),
      refusal: z.array(logprobEntry).nullish(),
    })
    .nullish(),
  message: z.looseObject({
    role: z.literal('assistant'),
    content: z.string().nullish(),
    tool_calls: z
      .array(
        z.looseObject({
          id: z.string(),
          type: z.literal('function'),
          function: z.looseObject({ name: z.string(), arguments: z.string() }),
        }),
      )
      .nullish(),
  }),
  prompt_token_ids: z.array(z.int()).nullish(),
  token_ids: z.array(z.int()).nullish(),
});
const messagesAndChoices = z.array(z.union([choice, message]));
const tools = z.array(z.looseObject({ type: z.literal('function') })).nullish();
const trajectory = z.looseObject({
  messages_and_choices: messagesAndChoices.default([]),
  tools,
  additional_histories: z
    .array(z.looseObject({ messages_and_choices: messagesAndChoices, tools }))
    .default([]),
  reward: z.number().default(0),
  initial_policy_version: z.int().nullish(),
  final_policy_version: z.int().nullish(),
  metrics: z.record(z.string(), z.union([z.number(), z.boolean()])).default({}),
  metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).default({}),
  logs: z.array(z.string()).default([]),
});
const group = z.looseObject({
  trajectories: z.array(trajectory),
  exceptions: z
    .array(z.looseObject({ type: z.string(), message: z.string(), traceback: z.string() }))
    .default([]),
  metadata: z.record(z.string(), z.unknown()).default({}),
  metrics: z.record(z.string(), z.union([z.number(), z.boolean()])).default({}),
  logs: z.array(z.string()).default([]),
});

export const rlConfig = z.looseObject({
  learning_rate: z.number().positive().nullish(),
  loss_fn: z.enum(['cispo', 'ppo']).nullish(),
  ppo: z.boolean().nullish(),
  epsilon: z.number().nullish(),
  epsilon_high: z.number().nullish(),
  importance_sampling_level: z.enum(['token', 'sequence', 'average', 'geometric_average']).nullish(),
  truncated_importance_sampling: z.number().nullish(),
  scale_rewards: z.boolean().nullish(),
  kl_penalty_coef: z.number().nullish(),
  kl_penalty_reference_step: z.int().min(0).nullish(),
  kl_penalty_step_lag: z.int().min(1).nullish(),
  allow_training_without_logprobs: z.boolean().nullish(),
});

const uuid = z.uuid();
export const createModel = z.looseObject({
  entity: z.string().nullish(),
  project: z.string().min(1),
  name: z.string().min(1),
  base_model: z.string().min(1),
  return_existing: z.boolean().default(false),
});
export const deleteCheckpoints = z.looseObject({ steps: z.array(z.int()) });
export const logGroups = z.looseObject({ trajectory_groups: z.array(group), split: z.string() });
export const rlJob = z.looseObject({
  model_id: uuid,
  trajectory_groups: z.array(group),
  experimental_config: rlConfig.nullish(),
});
export const sftJob = z.looseObject({
  model_id: uuid,
  training_data_url: z.string(),
  config: z
    .looseObject({
      batch_size: z.union([z.int().min(1), z.literal('auto')]).nullish(),
      learning_rate: z.union([z.number().positive(), z.array(z.number().positive()).min(1)]).nullish(),
      assistant_turns: z.enum(['all', 'last']).nullish(),
      metric_logging: z
        .looseObject({ enabled: z.boolean().default(false), target_training_step: z.int().min(1).optional() })
        .nullish(),
    })
    .nullish(),
});
export const chat = z.looseObject({ model: z.string(), messages: z.array(message).min(1) });

export type WireChoice = z.infer<typeof choice>;
export type WireHistory = { readonly messages_and_choices: z.infer<typeof messagesAndChoices> };
export type WireTrajectory = z.infer<typeof trajectory>;
export type WireGroup = z.infer<typeof group>;
export type RlConfig = z.infer<typeof rlConfig>;
export type SftJob = z.infer<typeof sftJob>;

/** Whether an entry is a choice, which makes its turn trainable. */
export function isChoice(entry: WireHistory['messages_and_choices'][number]): entry is WireChoice {
  return 'finish_reason' in entry && 'message' in entry;
}

/** Throws HttpError 422 with one entry for each issue. */
export function check<T>(schema: z.ZodType<T>, value: unknown, where: 'body' | 'query' = 'body'): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HttpError(
    422,
    parsed.error.issues.map((issue) => ({
      loc: [where, ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))],
      msg: issue.message,
      type: issue.code === 'invalid_type' && issue.message.includes('undefined') ? 'missing' : issue.code,
    })),
  );
}

const page = z.object({
  after: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('asc'),
});

/** One page of a list, as §4 has it. An unknown `after` is 404. */
export function paginate(items: readonly { readonly id: string }[], query: URLSearchParams): unknown {
  const { after, limit, order } = check(page, Object.fromEntries(query), 'query');
  const ordered = order === 'asc' ? items : items.toReversed();
  const last = after === undefined ? -1 : ordered.findIndex((one) => one.id === after);
  if (after !== undefined && last < 0) throw new HttpError(404, `There is no item ${after} in this list.`);
  const data = ordered.slice(last + 1, last + 1 + limit);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? '',
    last_id: data.at(-1)?.id ?? '',
    has_more: last + 1 + limit < ordered.length,
  };
}
