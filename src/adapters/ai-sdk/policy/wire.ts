/** What comes back over the wire, validated; only what is used is named. */
import { z } from 'zod';

const logprobs = z.object({ content: z.array(z.object({ logprob: z.number() })).nullish() }).nullish();
const usage = z.object({
  prompt_tokens: z.int().optional(),
  completion_tokens: z.int().optional(),
  prompt_tokens_details: z.object({ cached_tokens: z.int().nullish() }).nullish(),
  completion_tokens_details: z.object({ reasoning_tokens: z.int().nullish() }).nullish(),
});
const toolCall = z.object({
  id: z.string(),
  function: z.object({ name: z.string(), arguments: z.string() }),
});

const message = z.object({
  content: z.string().nullish(),
  reasoning: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  tool_calls: z.array(toolCall).nullish(),
});

export const completion = z.object({
  id: z.string(),
  created: z.number().optional(),
  model: z.string(),
  prompt_token_ids: z.array(z.int()).nullish(),
  usage: usage.nullish(),
  choices: z
    .array(
      z.object({
        message,
        finish_reason: z.string().nullish(),
        token_ids: z.array(z.int()).nullish(),
        logprobs,
      }),
    )
    .min(1),
});

const toolCallDelta = z.object({
  index: z.int(),
  id: z.string().nullish(),
  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
});

export const chunk = z.object({
  id: z.string(),
  created: z.number().optional(),
  model: z.string(),
  prompt_token_ids: z.array(z.int()).nullish(),
  usage: usage.nullish(),
  choices: z.array(
    z.object({
      delta: z.object({
        content: z.string().nullish(),
        reasoning: z.string().nullish(),
        reasoning_content: z.string().nullish(),
        tool_calls: z.array(toolCallDelta).nullish(),
      }),
      finish_reason: z.string().nullish(),
      token_ids: z.array(z.int()).nullish(),
      logprobs,
    }),
  ),
});

/** A refusal in OpenAI's form, or in that of services which say `detail`. */
export const wireError = z.union([
  z.object({ error: z.object({ message: z.string(), code: z.string().nullish() }) }),
  z.object({ detail: z.string() }).transform(({ detail }) => ({ error: { message: detail, code: null } })),
]);

export type WireUsage = z.infer<typeof usage>;
export type Completion = z.infer<typeof completion>;
export type Chunk = z.infer<typeof chunk>;
