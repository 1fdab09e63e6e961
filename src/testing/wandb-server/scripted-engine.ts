/** An engine without a model, for tests of the protocol alone: says the same sentence always and learns nothing. */
import type { EngineJob, WandbEngine } from './engine.ts';

const sentence = [
  { id: 11, text: 'as ' },
  { id: 12, text: 'scripted' },
] as const;

export interface ScriptedEngine extends WandbEngine {
  /** The jobs that it was given. */
  readonly jobs: readonly EngineJob[];
}

export function scriptedEngine(): ScriptedEngine {
  const jobs: EngineJob[] = [];
  return {
    jobs,
    baseModels: ['scripted/base'],
    train: (job) => {
      jobs.push(job);
      for (let step = 1; step <= job.gradientSteps; step += 1)
        job.onGradientStep({ loss: 1 / step, grad_norm: 0.5, entropy: 2, policy_loss: 1 / step });
      const weights = Buffer.from(`weights of ${job.modelId} step ${String(job.step)}`);
      const files = { 'adapter_config.json': Buffer.from('{}'), 'adapter_model.safetensors': weights };
      return Promise.resolve({ folder: `${job.modelId}/${String(job.step)}`, files });
    },
    identity: () =>
      Promise.resolve({
        'adapter_config.json': Buffer.from('{}'),
        'adapter_model.safetensors': Buffer.from('identity'),
      }),
    tokenize: ({ messages, addGenerationPrompt }) =>
      Promise.resolve([
        ...messages.flatMap((_, index) => [100 + index, 7]),
        ...(addGenerationPrompt ? [] : [8]),
      ]),
    chat: (body) => Promise.resolve(body['stream'] === true ? streamed(body) : whole(body)),
    close: () => Promise.resolve(),
  };
}

function whole(body: Readonly<Record<string, unknown>>): Response {
  return Response.json({
    ...head(body, 'chat.completion'),
    ...(body['return_token_ids'] === true ? { prompt_token_ids: [100, 7] } : {}),
    choices: [
      {
        index: 0,
        finish_reason: 'stop',
        message: { role: 'assistant', content: sentence.map((one) => one.text).join('') },
        ...sampled(body, sentence),
      },
    ],
    usage: { prompt_tokens: 2, completion_tokens: sentence.length },
  });
}

function streamed(body: Readonly<Record<string, unknown>>): Response {
  const common = head(body, 'chat.completion.chunk');
  const first = body['return_token_ids'] === true ? { prompt_token_ids: [100, 7] } : {};
  const chunks = [
    {
      ...common,
      ...first,
      choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }],
    },
    ...sentence.map((one) => ({
      ...common,
      choices: [{ index: 0, delta: { content: one.text }, finish_reason: null, ...sampled(body, [one]) }],
    })),
    { ...common, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
    { ...common, choices: [], usage: { prompt_tokens: 2, completion_tokens: sentence.length } },
  ];
  const events = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
  return new Response(`${events.join('')}data: [DONE]\n\n`, {
    headers: { 'content-type': 'text/event-stream' },
  });
}

function head(body: Readonly<Record<string, unknown>>, object: string): object {
  return { id: 'chatcmpl-scripted', object, created: 1_700_000_000, model: body['model'] };
}

function sampled(
  body: Readonly<Record<string, unknown>>,
  tokens: readonly (typeof sentence)[number][],
): object {
  const content = tokens.map(({ text }) => ({ token: text, logprob: -0.5, bytes: null, top_logprobs: [] }));
  return {
    ...(body['logprobs'] === true ? { logprobs: { content } } : {}),
    ...(body['return_token_ids'] === true ? { token_ids: tokens.map((one) => one.id) } : {}),
  };
}
