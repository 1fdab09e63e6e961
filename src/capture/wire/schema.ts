/**
 * OpenAI's chat completions as they come over the wire, with vLLM's token ids; only what is used is named. Lenient where
 * servers differ, because the user's own model is read by it, too.
 */
import { z } from 'zod';

const logprobs = z.object({ content: z.array(z.object({ logprob: z.number() })).nullish() }).nullish();
const usage = z.object({
  prompt_tokens: z.int().nullish(),
  completion_tokens: z.int().nullish(),
  prompt_tokens_details: z.object({ cached_tokens: z.int().nullish() }).nullish(),
  completion_tokens_details: z.object({ reasoning_tokens: z.int().nullish() }).nullish(),
});
const said = {
  content: z.string().nullish(),
  refusal: z.string().nullish(),
  reasoning: z.string().nullish(),
  reasoning_content: z.string().nullish(),
};
const choice = {
  index: z.int().nullish(),
  finish_reason: z.string().nullish(),
  token_ids: z.array(z.int()).nullish(),
  logprobs,
};
const head = {
  id: z.string().nullish(),
  created: z.number().nullish(),
  model: z.string().nullish(),
  prompt_token_ids: z.array(z.int()).nullish(),
  usage: usage.nullish(),
};

const toolCall = z.object({
  id: z.string(),
  // Absent on OpenAI's custom tools, which are kept without arguments.
  function: z.object({ name: z.string(), arguments: z.string() }).nullish(),
});

export const completion = z.object({
  ...head,
  choices: z
    .array(z.object({ ...choice, message: z.object({ ...said, tool_calls: z.array(toolCall).nullish() }) }))
    .min(1),
});

const toolCallDelta = z.object({
  index: z.int(),
  id: z.string().nullish(),
  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
});

export const chunk = z.object({
  ...head,
  choices: z.array(
    z.object({
      ...choice,
      delta: z.object({ ...said, tool_calls: z.array(toolCallDelta).nullish() }),
    }),
  ),
});

/** A refusal in OpenAI's form, or in that of services which say `detail`. */
const wireError = z.union([
  z.object({ error: z.object({ message: z.string() }) }).transform(({ error }) => error.message),
  z.object({ detail: z.string() }).transform(({ detail }) => detail),
]);

/** What a server says of an error that it reports, in an answer or in the middle of a stream; else undefined. */
export function reportedError(data: unknown): string | undefined {
  // Looked for first: nearly no chunk has it, and each refusal by a schema makes an error.
  if (typeof data !== 'object' || data === null || !('error' in data || 'detail' in data)) return undefined;
  return wireError.safeParse(data).data;
}

export type WireUsage = z.infer<typeof usage>;
export type Completion = z.infer<typeof completion>;
export type Chunk = z.infer<typeof chunk>;
