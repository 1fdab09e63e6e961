/** Clients of openai 4 to 7: every way to a chat completion, wrapped and bare, on the incumbent and on a policy. */
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { wrapModel } from '../src/adapters/ai-sdk/index.ts';
import { recordingFetch, wrapOpenAI } from '../src/adapters/openai/index.ts';
import type { AdapterHost } from '../src/capture/adapter-host.ts';
import {
  memoryHost,
  startOpenAIDialectServer,
  startPolicyHost,
  type DialectAnswer,
  type DialectRequest,
} from '../src/testing/index.ts';
import { majors } from './models.ts';
import { providerModel } from './subjects/ai-sdk.ts';
import {
  cityFormat,
  helpersOf,
  openaiMajors,
  type Chunk,
  type Client,
  type Major,
} from './subjects/openai-majors.ts';
import { whole } from './whole.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** Calls the tool where there is one and no result yet; else speaks, in JSON where that is asked for. */
function answer({ body }: DialectRequest): DialectAnswer {
  const last = body.messages.at(-1);
  if (body['tools'] !== undefined && last?.['role'] !== 'tool') {
    const calls = [{ id: 'call-a', name: 'weather', arguments: '{ "city":  "Paris" }' }];
    return { kind: 'tools', text: 'Let me see. ', calls };
  }
  if (body['response_format'] !== undefined) return { kind: 'text', text: '{"city": "Paris"}' };
  return { kind: 'text', text: 'It is raining in Paris.', reasoning: 'Rain, then. ' };
}

type Way = (client: Client, major: Major) => Promise<unknown>;

const messages = [{ role: 'user', content: 'What is the weather in Paris?' }];
const body = { model: 'gpt', messages, temperature: 1 };
const streamed = { ...body, stream: true } as const;
const weather = {
  type: 'function',
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
    parse: JSON.parse,
    function: ({ city }: { city: string }) => `rain in ${city}`,
  },
};

async function drain(stream: AsyncIterable<Chunk>): Promise<unknown[]> {
  const chunks: unknown[] = [];
  for await (const chunk of stream) chunks.push(whole(chunk));
  return chunks;
}

const head = ({ status, url, headers }: Response): unknown => ({
  status,
  path: new URL(url).pathname,
  type: headers.get('content-type'),
});

const ways: Readonly<Record<string, Way>> = {
  create: (client) => Promise.resolve(client.chat.completions.create(body)),
  'create, streamed': async (client) => drain(await client.chat.completions.create(streamed)),
  'create, streamed, counted': async (client) =>
    drain(await client.chat.completions.create({ ...streamed, stream_options: { include_usage: true } })),
  'create with tools': (client) =>
    Promise.resolve(client.chat.completions.create({ ...body, tools: [plainTool] })),
  'create with tools, streamed': async (client) =>
    drain(await client.chat.completions.create({ ...streamed, tools: [plainTool] })),
  'create, abandoned count': async (client) => {
    const chunks: unknown[] = [];
    for await (const chunk of await client.chat.completions.create(streamed)) {
      chunks.push(chunk);
      if ((chunk.choices[0] as { finish_reason?: string | null }).finish_reason != null) break;
    }
    return chunks;
  },
  withResponse: async (client) => {
    const { data, response } = await client.chat.completions.create(body).withResponse();
    return { data, head: head(response) };
  },
  'withResponse, streamed': async (client) => {
    const { data, response } = await client.chat.completions.create(streamed).withResponse();
    return { data: await drain(data), head: head(response) };
  },
  asResponse: async (client) => {
    const response = await client.chat.completions.create(body).asResponse();
    return { head: head(response), data: (await response.json()) as unknown };
  },
  parse: async (client, major) => helpersOf(client).parse({ ...body, response_format: cityFormat(major) }),
  stream: async (client) => {
    const runner = helpersOf(client).stream(body);
    const pieces: unknown[] = [];
    runner.on('content', (piece) => pieces.push(piece));
    const final = await runner.finalChatCompletion();
    return { pieces, final, messages: runner.messages };
  },
  'stream, iterated': (client) => drain(helpersOf(client).stream(body)),
  runTools: async (client) => {
    const runner = helpersOf(client).runTools({ ...body, tools: [weather] });
    return { content: await runner.finalContent(), messages: runner.messages };
  },
  'runTools, streamed': async (client) => {
    const runner = helpersOf(client).runTools({ ...streamed, tools: [weather] });
    return { content: await runner.finalContent(), messages: runner.messages };
  },
  tee: async (client) => {
    const [one, other] = (await client.chat.completions.create(streamed)).tee();
    return Promise.all([drain(one), drain(other)]);
  },
  toReadableStream: async (client) =>
    new Response((await client.chat.completions.create(streamed)).toReadableStream()).text(),
  withOptions: async (client) => {
    const clone = client.withOptions?.({ timeout: 10_000, apiVersion: '2025-01-01' }) ?? client;
    return clone.chat.completions.create(body);
  },
  'create with a request option': async (client) =>
    client.chat.completions.create(body, { headers: { 'x-trace': '1' }, query: { a: 'b' } }),
};

const plainTool = { type: 'function', function: { name: 'weather', parameters: { type: 'object' } } };

describe.each(openaiMajors)('$name', (major) => {
  const clients: Readonly<Record<string, (baseURL: string) => Client>> = {
    OpenAI: (baseURL) => new major.OpenAI({ baseURL, apiKey: 'k', maxRetries: 0, organization: 'org' }),
    AzureOpenAI: (baseURL) =>
      new major.AzureOpenAI({ baseURL, apiKey: 'k', apiVersion: '2025-01-01', maxRetries: 0 }),
    'a subclass': (baseURL) => new (class extends major.OpenAI {})({ baseURL, apiKey: 'k', maxRetries: 0 }),
    'its own fetch': (baseURL) =>
      new major.OpenAI({
        baseURL,
        apiKey: 'k',
        maxRetries: 0,
        fetch: (...given: [string]) => fetch(...given),
      }),
  };

  /** The result and the requests of one way, on the incumbent. */
  async function play(make: (baseURL: string) => Client, way: Way, host?: AdapterHost): Promise<unknown> {
    const server = await startOpenAIDialectServer(answer);
    try {
      const client = make(server.baseUrl);
      const result = await way(host === undefined ? client : wrapOpenAI(client, host), major);
      const requests = server.requests.map((one) => ({ ...one, headers: { ...one.headers, host: '' } }));
      return { result: whole(result), requests };
    } finally {
      await server.close();
    }
  }

  it.each(Object.entries(ways))('%s: wrapped and bare give the same', async (_, way) => {
    const host = memoryHost();
    const make = clients['OpenAI'] as (baseURL: string) => Client;
    const wrapped = await host.recorder.run({}, () => play(make, way, host));
    expect(wrapped).toEqual(await play(make, way));
    expect(host.calls().length).toBeGreaterThan(0);
    for (const call of host.calls()) {
      expect(call).toMatchObject({ adapter: 'openai', outcome: { status: 'ok' }, tokens: null });
      expect(call.response.message).not.toBeNull();
    }
    expect(host.faults()).toEqual({});
  });

  it.each(Object.entries(clients))('%s: wrapped and bare give the same', async (_, make) => {
    for (const name of ['create', 'create, streamed', 'runTools', 'withOptions']) {
      const host = memoryHost();
      const way = ways[name] as Way;
      expect(await host.recorder.run({}, () => play(make, way, host))).toEqual(await play(make, way));
      expect(host.calls().length).toBeGreaterThan(0);
    }
  });

  it.each(Object.entries(ways))('%s on a policy: ids, logprobs and count agree', async (_, way) => {
    const host = await startPolicyHost(answer);
    closers.push(() => host.close());
    const make = clients['OpenAI'] as (baseURL: string) => Client;
    const client = wrapOpenAI(make('http://127.0.0.1:9/v1'), host);
    const result = await host.recorder.run({}, () => way(client, major));
    expect(JSON.stringify(whole(result))).not.toMatch(/token_ids|"logprob"/);
    expect(host.calls().length).toBeGreaterThan(0);
    for (const { tokens, response, trainability } of host.calls()) {
      expect(tokens?.completionIds.length).toBeGreaterThan(0);
      expect(tokens?.logprobs).toHaveLength(tokens?.completionIds.length ?? 0);
      // A reader that leaves at the finish reason leaves before the count.
      const { outputTokens = tokens?.completionIds.length, inputTokens = tokens?.promptIds.length } =
        response.usage;
      expect([tokens?.completionIds.length, tokens?.promptIds.length]).toEqual([outputTokens, inputTokens]);
      expect(trainability).toEqual({ trainable: true });
    }
    for (const { headers } of host.server.requests) {
      expect(headers.authorization).toBe('Bearer secret-of-the-policy');
      expect(Object.keys(headers).filter((name) => /^(x-stainless|openai|x-trace)/.test(name))).toEqual([]);
    }
    expect(host.faults()).toEqual({});
  });

  it('Azure on a policy, and the clone that withOptions makes', async () => {
    const host = await startPolicyHost(answer);
    closers.push(() => host.close());
    const azure = clients['AzureOpenAI'] as (baseURL: string) => Client;
    await host.recorder.run({}, async () => {
      const client = wrapOpenAI(azure('http://127.0.0.1:9/v1'), host);
      await client.chat.completions.create(body);
      if (client.withOptions !== undefined)
        await client.withOptions({ timeout: 1000, apiVersion: '2025-01-01' }).chat.completions.create(body);
    });
    expect(host.calls().map((call) => call.trainability.trainable)).not.toContain(false);
    expect(host.server.requests.every(({ headers }) => !('api-key' in headers))).toBe(true);
  });

  it('leaves other endpoints alone, recorded and on a policy', async () => {
    const server = await startOpenAIDialectServer(() => ({ kind: 'text', text: 'yes' }));
    closers.push(() => server.close());
    const host = await startPolicyHost([]);
    closers.push(() => host.close());
    const make = clients['OpenAI'] as (baseURL: string) => Client;
    const client = wrapOpenAI(make(server.baseUrl), host) as unknown as {
      embeddings: { create(body: object): Promise<unknown> };
      completions: { create(body: object): Promise<unknown> };
    };
    await host.recorder.run({}, async () => {
      await client.embeddings.create({ model: 'e', input: 'x', encoding_format: 'float', messages });
      await client.completions.create({ model: 'gpt', prompt: 'x', messages });
    });
    expect(server.requests).toHaveLength(2);
    expect(host.calls()).toEqual([]);
  });

  it('stays what it was, and is wrapped once', () => {
    const host = memoryHost();
    const client = new major.OpenAI({ apiKey: 'k' });
    const wrapped = wrapOpenAI(client, host);
    expect(wrapped).toBe(client);
    expect(wrapped).toBeInstanceOf(major.OpenAI);
    const { fetch } = wrapped as unknown as { fetch: unknown };
    wrapOpenAI(client, host);
    wrapOpenAI(client, memoryHost());
    expect((client as unknown as { fetch: unknown }).fetch).toBe(fetch);
  });

  it('records by recordingFetch as by wrapOpenAI', async () => {
    const server = await startOpenAIDialectServer(answer);
    closers.push(() => server.close());
    const host = memoryHost();
    const options = { baseURL: server.baseUrl, apiKey: 'k', fetch: recordingFetch(fetch, host) };
    const client = wrapOpenAI(new major.OpenAI(options), host);
    await host.recorder.run({}, () => ways['create, streamed']?.(client, major));
    expect(host.calls()).toMatchObject([{ adapter: 'fetch', outcome: { status: 'ok' } }]);
  });
});

describe.each(majors)('recordingFetch in a provider of $name', ({ ai, version }) => {
  const ask = (model: object) => ai.generateText({ model, prompt: 'Weather?' });

  it('records, and lets the policy answer', async () => {
    const host = await startPolicyHost(answer);
    closers.push(() => host.close());
    const more = { fetch: recordingFetch(fetch, host) };
    const model = providerModel(version, 'http://127.0.0.1:9/v1', 'k', more);
    const result = await host.recorder.run({}, () => ask(model));
    expect(result['text']).toBe('It is raining in Paris.');
    expect(host.calls()).toMatchObject([{ adapter: 'fetch', trainability: { trainable: true } }]);
  });

  it('leaves the call to wrapModel above it', async () => {
    const server = await startOpenAIDialectServer(answer);
    closers.push(() => server.close());
    const host = memoryHost();
    const model = providerModel(version, server.baseUrl, 'k', { fetch: recordingFetch(fetch, host) });
    await host.recorder.run({}, () => ask(wrapModel(model, host)));
    expect(host.calls()).toMatchObject([{ adapter: 'ai-sdk', outcome: { status: 'ok' } }]);
  });
});

describe.each(majors)('a wrapped client in a tool of $name', ({ ai, version }) => {
  it.each(['generateText', 'streamText'] as const)('is recorded beside the agent (%s)', async (way) => {
    const server = await startOpenAIDialectServer(answer);
    closers.push(() => server.close());
    const host = memoryHost();
    const [major] = openaiMajors.slice(-1) as [Major];
    const client = wrapOpenAI(new major.OpenAI({ baseURL: server.baseUrl, apiKey: 'k' }), host);
    const tools = {
      weather: ai.tool({
        inputSchema: z.object({ city: z.string() }),
        execute: async () => (await client.chat.completions.create(body)).choices[0]?.message.content,
      }),
    };
    const model = wrapModel(providerModel(version, server.baseUrl, 'k'), host);
    const options = { model, tools, prompt: 'Weather?', stopWhen: ai.stepCountIs(3) };
    await host.recorder.run({}, async () => {
      if (way === 'generateText') await ai.generateText(options);
      else await ai.streamText(options).consumeStream();
    });
    expect(host.calls().map((call) => call.adapter)).toEqual(['ai-sdk', 'openai', 'ai-sdk']);
  });
});

it('wrapOpenAI gives back what is no client', () => {
  const strange = { fetch: 7, chat: {} };
  expect(wrapOpenAI(strange, memoryHost())).toBe(strange);
  expect(strange).toEqual({ fetch: 7, chat: {} });
});
