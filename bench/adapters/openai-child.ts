/**
 * One variant in a process of its own: `openai-child.ts VARIANT`; prints its timings as JSON. The server is inside the
 * process and takes no time: a prompt of 900 tokens, an answer of 40 tokens in a plain call, of 1 or 200 chunks in a
 * stream. What is recorded is stored durably.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { openSqliteStore } from 'apprentice';
import { wrapOpenAI } from 'apprentice/openai';
import OpenAI from 'openai';
import { FaultCounter } from '../../src/capture/faults.ts';
import { Recorder } from '../../src/capture/recorder.ts';
import type { Route } from '../../src/capture/route.ts';
import { StoreSink } from '../../src/capture/sink.ts';
import { median } from '../statistics.ts';
import { prose } from '../words.ts';

export type Variant = 'bare' | 'recorded' | 'policy';

/** Medians in microseconds: of a plain call, and of one more chunk in a stream. */
export interface Timings {
  readonly call: number;
  readonly chunk: number;
}

const warmUps = 300;
const rounds = 1500;
const longStream = 200;

const variant = process.argv[2] as Variant;
const withTokens = variant === 'policy';
const messages = [
  { role: 'system' as const, content: prose(3000) },
  { role: 'user' as const, content: 'Where is my order K482?' },
];
const body = { model: 'gpt-5-mini', messages };

/** What the server says of `count` tokens. */
function sampled(count: number, from = 0): object {
  if (!withTokens) return { logprobs: null };
  const content = Array.from({ length: count }, () => ({
    token: 'order',
    logprob: -0.25,
    bytes: [111],
    top_logprobs: [],
  }));
  return { logprobs: { content }, token_ids: Array.from({ length: count }, (_, index) => from + index) };
}

const head = { id: 'chatcmpl-1', created: 1_700_000_000, model: 'gpt-5-mini' };
const prompt = withTokens ? { prompt_token_ids: Array.from({ length: 900 }, (_, index) => index) } : {};
const usage = (tokens: number) => ({
  prompt_tokens: 900,
  completion_tokens: tokens,
  total_tokens: 900 + tokens,
});

const plain = JSON.stringify({
  ...head,
  ...prompt,
  object: 'chat.completion',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: prose(200), refusal: null },
      finish_reason: 'stop',
      ...sampled(40),
    },
  ],
  usage: usage(40),
});

function events(count: number): Uint8Array[] {
  const chunk = (more: object): string =>
    JSON.stringify({ ...head, object: 'chat.completion.chunk', ...more });
  const choice = (delta: object, finish: string | null, more: object = {}) => ({
    choices: [{ index: 0, delta, finish_reason: finish, ...more }],
  });
  const data = [
    chunk({ ...prompt, ...choice({ role: 'assistant', content: '' }, null) }),
    ...Array.from({ length: count }, (_, index) =>
      chunk(choice({ content: ' order' }, null, sampled(1, index))),
    ),
    chunk(choice({}, 'stop')),
    ...(withTokens ? [chunk({ choices: [], usage: usage(count) })] : []),
    '[DONE]',
  ];
  return data.map((one) => new TextEncoder().encode(`data: ${one}\n\n`));
}

const streams = { short: events(1), long: events(longStream) };
let answer: keyof typeof streams | 'plain' = 'plain';

const serve = (): Promise<Response> => {
  if (answer === 'plain')
    return Promise.resolve(new Response(plain, { headers: { 'content-type': 'application/json' } }));
  const parts = streams[answer];
  let next = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const part = parts[next];
        next += 1;
        if (part === undefined) controller.close();
        else controller.enqueue(part);
      },
    },
    { highWaterMark: 0 },
  );
  return Promise.resolve(new Response(stream, { headers: { 'content-type': 'text/event-stream' } }));
};

const identity = {
  baseModel: 'base',
  baseDigest: 'sha256:base',
  tokenizerDigest: 'sha256:tokenizer',
  chatTemplateDigest: 'sha256:template',
  contextLength: 4096,
};
const endpoint = { baseUrl: 'http://127.0.0.1:9/v1', apiKey: 'key', model: 'bench@1', identity };
const route: Route = withTokens
  ? {
      kind: 'policy',
      policy: 'bench@1',
      step: 1,
      propensity: 1,
      onFailure: 'throw',
      endpoint: () => Promise.resolve(endpoint),
    }
  : { kind: 'incumbent', propensity: 1 };

const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
const faults = new FaultCounter();
const store = openSqliteStore({ folder });
const sink = new StoreSink({ store, faults });
const recorder = new Recorder({
  project: 'bench',
  name: 'bench',
  sink,
  faults,
  router: { choose: () => route },
});
const client = new OpenAI({ apiKey: 'key', maxRetries: 0, fetch: serve });
// Policies are reached by the global fetch, whatever the client's own is.
globalThis.fetch = serve;
if (variant !== 'bare') wrapOpenAI(client, { recorder });

const call = async (): Promise<void> => {
  await client.chat.completions.create(body);
};
const readStream = async (): Promise<void> => {
  for await (const _ of await client.chat.completions.create({ ...body, stream: true }));
};

/** Median microseconds of `work` on one kind of answer. */
async function measure(kind: typeof answer, work: () => Promise<void>, count: number): Promise<number> {
  answer = kind;
  const run = variant === 'bare' ? work : () => recorder.run({ scenario: 'bench' }, work);
  const times: number[] = [];
  for (let index = -warmUps; index < count; index += 1) {
    const began = performance.now();
    await run();
    if (index >= 0) times.push((performance.now() - began) * 1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return median(times);
}

const plainCall = await measure('plain', call, rounds);
const short = await measure('short', readStream, rounds);
const long = await measure('long', readStream, rounds / 5);
recorder.finishAll();
await sink.close({ timeoutMs: 20_000 });
await (await store).close();
await rm(folder, { recursive: true });
if (Object.keys(faults.counts()).length > 0) throw new Error(JSON.stringify(faults.counts()));
const timings: Timings = { call: plainCall, chunk: (long - short) / (longStream - 1) };
console.log(JSON.stringify(timings));
