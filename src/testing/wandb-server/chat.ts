/** Inference (§5.10): a checkpoint's artifact name in, the engine's answer out under that very name. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { z } from 'zod';
import { parseArtifactUrl } from './artifacts.ts';
import type { ChatTarget, WandbEngine } from './engine.ts';
import { HttpError, type Answer, type Exchange } from './http.ts';
import { chat, check } from './schemas.ts';
import type { WandbState } from './state.ts';

const engineError = z.object({ error: z.object({ message: z.string() }) });
const logprobs = z
  .looseObject({ content: z.array(z.looseObject({ token: z.string() })).nullish() })
  .nullish();
const answer = z.looseObject({
  choices: z.array(z.looseObject({ token_ids: z.array(z.int()).nullish(), logprobs })),
});

export async function answerChat(
  { state, engine }: { readonly state: WandbState; readonly engine: WandbEngine },
  exchange: Exchange,
): Promise<Answer> {
  const { model, return_tokens_as_token_ids: asIds, ...body } = check(chat, exchange.json());
  const target = resolveModel(state, model);
  const given = Object.entries(body).filter(([, value]) => value !== null);
  const asked = { ...Object.fromEntries(given), ...(asIds === true ? { return_token_ids: true } : {}) };
  const response = await engine.chat({ ...asked, model }, target, exchange.signal);
  if (!response.ok) {
    const parsed = engineError.safeParse(await response.json().catch(() => undefined));
    throw new HttpError(response.status, parsed.success ? parsed.data.error.message : 'The engine failed.');
  }
  const keepIds = body['return_token_ids'] === true;
  const rewrite = (data: unknown): object => ({
    ...rename(answer.parse(data), asIds === true, keepIds),
    model,
  });
  if (body['stream'] !== true) return { kind: 'json', value: rewrite(await response.json()) };
  if (response.body === null) throw new HttpError(500, 'The engine sent no body.');
  return { kind: 'stream', stream: rewriteStream(response.body, rewrite) };
}

/** The checkpoint that a name means; 404 where there is none. */
export function resolveModel(state: WandbState, name: string): ChatTarget {
  const reference = parseArtifactUrl(name);
  const model =
    reference === undefined
      ? undefined
      : state.tables.models.find(
          (one) =>
            one.entity === reference.entity &&
            one.project === reference.project &&
            one.name === reference.name,
        );
  if (reference === undefined || model === undefined) throw new HttpError(404, `Model ${name} not found`);
  const checkpoints = state.checkpoints(model.id);
  const { entity, project, alias = 'latest' } = reference;
  const artifact = alias === 'latest' ? undefined : state.findArtifact(entity, project, model.name, alias);
  const stepAlias = alias.startsWith('step')
    ? alias
    : artifact?.aliases.find((one) => one.startsWith('step'));
  const found =
    alias === 'latest'
      ? checkpoints.at(-1)
      : checkpoints.find((one) => `step${String(one.step)}` === stepAlias);
  if (found === undefined) throw new HttpError(404, `Model ${name} not found`);
  return { modelId: model.id, step: found.step, folder: found.folder };
}

/** With `return_tokens_as_token_ids`, each token reads `token_id:<id>`. */
function rename(data: z.infer<typeof answer>, asIds: boolean, keepIds: boolean): object {
  if (!asIds) return data;
  const choices = data.choices.map(({ token_ids: ids, logprobs: found, ...choice }) => ({
    ...choice,
    ...(keepIds ? { token_ids: ids } : {}),
    logprobs:
      found?.content == null
        ? found
        : {
            ...found,
            content: found.content.map((entry, at) => ({
              ...entry,
              token: `token_id:${String(ids?.[at] ?? -1)}`,
            })),
          },
  }));
  const { prompt_token_ids: prompt, ...others } = data;
  return { ...others, choices, ...(keepIds && prompt !== undefined ? { prompt_token_ids: prompt } : {}) };
}

async function* rewriteStream(
  body: ReadableStream<Uint8Array>,
  rewrite: (data: unknown) => object,
): AsyncGenerator<string> {
  // lib.dom types the decoder's input as BufferSource, which is wider than what fetch gives.
  const decoder = new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>;
  for await (const { data } of body.pipeThrough(decoder).pipeThrough(new EventSourceParserStream())) {
    if (data === '[DONE]') yield 'data: [DONE]\n\n';
    else {
      const parsed: unknown = JSON.parse(data);
      const failed = engineError.safeParse(parsed).success;
      yield `data: ${JSON.stringify(failed ? parsed : rewrite(parsed))}\n\n`;
    }
  }
}
