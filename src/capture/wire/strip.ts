/** Takes out of answers what was asked for the record only, so that no framework, log or checkpoint gets to see it. */
import type { WireBody } from './policy-request.ts';

interface OpenAnswer {
  prompt_token_ids?: unknown;
  usage?: unknown;
  choices?: { token_ids?: unknown; logprobs?: unknown }[];
}

/** Strips a completion or a chunk, in place. What the caller asked for stays. */
export function stripTokens(data: OpenAnswer, asked: WireBody): void {
  delete data.prompt_token_ids;
  for (const choice of data.choices ?? []) {
    delete choice.token_ids;
    // As OpenAI has it where they were not asked for.
    if (asked.logprobs !== true && 'logprobs' in choice) choice.logprobs = null;
  }
}

/** Whether a chunk is there only because the count was asked for: it has no choice, which clients do not expect. */
export function isUnaskedCount(data: OpenAnswer, asked: WireBody): boolean {
  return asked.stream_options?.include_usage !== true && data.usage != null && data.choices?.length === 0;
}
