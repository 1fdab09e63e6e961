/** A judge behind any server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp, gateways. */
import pRetry, { AbortError } from 'p-retry';
import { z } from 'zod';
import { AbortedError, InvalidOptionError, JudgeError } from '../../errors.ts';
import type { Judge, JudgeAnswer, JudgeRequest } from './judge.ts';

export interface OpenAIJudgeOptions {
  readonly model: string;
  /** Ends in `/v1`. Default: OpenAI's own. */
  readonly baseUrl?: string;
  /** Default: for OpenAI, the environment variable OPENAI_API_KEY; for any other server none. */
  readonly apiKey?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** In the price table: `openai`, `groq` … Default: by `baseUrl`. */
  readonly provider?: string;
  /**
   * How the server is asked for JSON. Default: 'json-schema'; 'json-object' for servers without schemas; 'prompt' for
   * those with neither. Every prompt describes the form as well.
   */
  readonly structuredOutput?: 'json-schema' | 'json-object' | 'prompt';
  /** Further fields of the request: `temperature`, `reasoning_effort`, `max_completion_tokens` … */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Milliseconds for one request. Default: 120 000. */
  readonly timeoutMs?: number;
  /** Tries again after 408, 409, 429, 5xx and lost connections. Default: 4. */
  readonly retries?: number;
}

const openai = 'https://api.openai.com/v1';

const completion = z.object({
  choices: z
    .array(
      z.object({
        finish_reason: z.string().nullish(),
        message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }),
      }),
    )
    .min(1),
  usage: z
    .object({
      prompt_tokens: z.int().nonnegative(),
      completion_tokens: z.int().nonnegative(),
      prompt_tokens_details: z.object({ cached_tokens: z.int().nonnegative().nullish() }).nullish(),
    })
    .nullish(),
});

/** Throws InvalidOptionError. Nothing is asked before the first judgement. */
export function openaiJudge(options: OpenAIJudgeOptions): Judge {
  const { model, baseUrl = openai, provider, retries = 4 } = options;
  if (!URL.canParse(baseUrl)) {
    throw new InvalidOptionError({
      field: 'baseUrl',
      received: baseUrl,
      expected: 'a URL that ends in /v1',
      fix: 'For instance "http://127.0.0.1:8000/v1".',
    });
  }
  // A key of OpenAI is nobody else's business.
  const apiKey = options.apiKey ?? (baseUrl === openai ? process.env['OPENAI_API_KEY'] : undefined);
  if (apiKey === undefined && baseUrl === openai) {
    throw new InvalidOptionError({
      field: 'apiKey',
      received: undefined,
      expected: 'an API key of OpenAI',
      fix: 'Set OPENAI_API_KEY, or give apiKey, or the baseUrl of a server of your own.',
    });
  }
  const place = provider ?? (baseUrl === openai ? 'openai' : undefined);
  return {
    model,
    ...(place === undefined ? {} : { provider: place }),
    async ask(request) {
      const { signal } = request;
      try {
        return await pRetry(() => post(options, baseUrl, apiKey, request), {
          retries,
          minTimeout: 500,
          maxTimeout: 20_000,
          randomize: true,
          signal,
          onFailedAttempt: async ({ error }) => {
            if (error instanceof Refusal) await pause(error.waitMs, signal);
          },
        });
      } catch (error) {
        if (signal.aborted) throw new AbortedError('Judging', signal.reason);
        throw new JudgeError(`The judge ${model} at ${baseUrl} failed: ${String(error)}.`, {
          fix: 'Check that the server runs, knows this model and takes `structuredOutput` as it is set.',
          cause: error,
        });
      }
    },
  };
}

/** An answer that may be another one later. */
class Refusal extends Error {
  /** What the server asks to wait before the next try. */
  readonly waitMs: number;
  constructor(message: string, waitMs: number) {
    super(message);
    this.waitMs = waitMs;
  }
}

async function post(
  options: OpenAIJudgeOptions,
  baseUrl: string,
  apiKey: string | undefined,
  request: JudgeRequest,
): Promise<JudgeAnswer> {
  const limit = AbortSignal.timeout(options.timeoutMs ?? 120_000);
  const response = await fetch(`${baseUrl.replace(/\/$/, '')}/chat/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      ...options.headers,
    },
    body: JSON.stringify({
      model: options.model,
      messages: request.messages,
      ...responseFormat(options, request),
      ...options.parameters,
    }),
    signal: AbortSignal.any([request.signal, limit]),
  }).catch((error: unknown) => {
    if (request.signal.aborted) throw new AbortError('aborted');
    // fetch hides why it failed in its cause.
    const why = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
    throw new Refusal(`${String(error)}${why}`, 0);
  });
  const text = await response.text();
  if (!response.ok) {
    const what = `HTTP ${String(response.status)} ${text.slice(0, 300)}`;
    const again = [408, 409, 429].includes(response.status) || response.status >= 500;
    if (!again) throw new AbortError(what);
    throw new Refusal(what, retryAfterMs(response.headers));
  }
  return read(text);
}

function read(text: string): JudgeAnswer {
  let body: z.infer<typeof completion>;
  try {
    body = completion.parse(JSON.parse(text));
  } catch {
    throw new Refusal(`an answer that is no chat completion: ${text.slice(0, 300)}`, 0);
  }
  const [choice] = body.choices;
  const { usage } = body;
  const cached = usage?.prompt_tokens_details?.cached_tokens;
  return {
    text: choice?.message.content ?? choice?.message.refusal ?? '',
    truncated: choice?.finish_reason === 'length',
    usage:
      usage == null
        ? {}
        : {
            inputTokens: usage.prompt_tokens,
            outputTokens: usage.completion_tokens,
            ...(cached == null ? {} : { cachedInputTokens: cached }),
          },
  };
}

function responseFormat(options: OpenAIJudgeOptions, { schema, schemaName }: JudgeRequest): object {
  const { structuredOutput = 'json-schema' } = options;
  switch (structuredOutput) {
    case 'json-schema':
      return {
        response_format: { type: 'json_schema', json_schema: { name: schemaName, strict: true, schema } },
      };
    case 'json-object':
      return { response_format: { type: 'json_object' } };
    case 'prompt':
      return {};
    default:
      return structuredOutput satisfies never;
  }
}

/** At most a minute; the waits of the retries come on top. */
function retryAfterMs(headers: Headers): number {
  const milliseconds = Number(headers.get('retry-after-ms') ?? Number.NaN);
  if (Number.isFinite(milliseconds)) return Math.min(60_000, Math.max(0, milliseconds));
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  return Number.isFinite(seconds) ? Math.min(60_000, Math.max(0, seconds * 1000)) : 0;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done, { once: true });
  });
}
