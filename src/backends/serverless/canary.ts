/** Before a step is published: it answers under its own name, with token ids and logprobs, otherwise than the base. */
import { z } from 'zod';
import { AdapterRefusedError, ServiceRequestError } from '../../errors.ts';
import type { CanaryReport } from '../backend.ts';
import type { ServiceHttp } from './http.ts';
import { stepName, type NamedModel } from './names.ts';

const answer = z.looseObject({
  model: z.string(),
  prompt_token_ids: z.array(z.int()).min(1),
  choices: z
    .array(
      z.looseObject({
        token_ids: z.array(z.int()).min(1),
        logprobs: z.looseObject({ content: z.array(z.looseObject({ logprob: z.number() })).min(1) }),
      }),
    )
    .min(1),
});

/** Tokens that are compared at most. */
const tokens = 16;

interface Sampled {
  readonly ids: readonly number[];
  readonly logprobs: readonly number[];
}

/** Throws AdapterRefusedError; ServiceRequestError where the service cannot be asked. */
export async function runCanary(options: {
  readonly http: ServiceHttp;
  readonly inferenceUrl: string;
  readonly model: NamedModel;
  readonly step: number;
}): Promise<CanaryReport> {
  const served = await ask(options, options.step);
  const base = await ask(options, 0).catch((error: unknown) => {
    // Somebody deleted step 0: there is nothing to compare with.
    if (error instanceof AdapterRefusedError) return served;
    throw error;
  });
  let same = 0;
  while (same < served.ids.length && served.ids[same] === base.ids[same]) same += 1;
  // Up to and with the first difference, both chose from the same context.
  const compared = served.logprobs.slice(0, same + 1);
  const gaps = compared.map((value, at) => Math.abs(value - (base.logprobs[at] ?? value)));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / Math.max(1, gaps.length);
  return { against: 'base', tokens: served.ids.length, baseGap: mean };
}

async function ask(
  { http, inferenceUrl, model }: Parameters<typeof runCanary>[0],
  step: number,
): Promise<Sampled> {
  const name = stepName(model, step);
  let body: unknown;
  try {
    body = await http.json({
      method: 'POST',
      url: `${inferenceUrl}/chat/completions`,
      authorisation: 'bearer',
      repeatable: true,
      body: JSON.stringify({
        model: name,
        messages: [{ role: 'user', content: 'Say in one sentence what you can do.' }],
        temperature: 0,
        max_tokens: tokens,
        logprobs: true,
        return_token_ids: true,
      }),
    });
  } catch (error) {
    if (!(error instanceof ServiceRequestError && error.status === 404)) throw error;
    throw new AdapterRefusedError(`${name} is not served: ${error.detail ?? 'HTTP 404'}.`, {
      fix: 'Check `inferenceUrl`; a checkpoint that was deleted cannot be published any more.',
      cause: error,
      retryable: true,
    });
  }
  const parsed = answer.safeParse(body);
  const choice = parsed.data?.choices[0];
  if (choice === undefined || choice.token_ids.length !== choice.logprobs.content.length) {
    throw new AdapterRefusedError(`${name} answers without token ids and logprobs for each of them.`, {
      fix: 'Use an inference URL that honours `return_token_ids` and `logprobs`: without them nothing can be trained.',
    });
  }
  return { ids: choice.token_ids, logprobs: choice.logprobs.content.map((one) => one.logprob) };
}
