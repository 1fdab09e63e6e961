import { afterEach, describe, expect, it } from 'vitest';
import { memoryHost, type MemoryHost } from '../../testing/memory-host.ts';
import {
  fakeAnswerIds,
  fakeLogprob,
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectServer,
} from '../../testing/openai-dialect-server.ts';
import { policy, startPolicyHost, type PolicyHost } from '../../testing/policy-host.ts';
import { recordedFetch, type Fetch } from './recorded-fetch.ts';

const text: DialectAnswer = { kind: 'text', text: 'It is raining in Paris.', reasoning: 'Let me see. ' };
const rawArguments = '{"days": 1.0,  "city": "Paris"}';
const tools: DialectAnswer = {
  kind: 'tools',
  calls: [{ id: 'call-a', name: 'weather', arguments: rawArguments }],
};
const question = { role: 'user', content: 'What is the weather in Paris?' };

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function incumbent(...answers: DialectAnswer[]): Promise<DialectServer> {
  const server = await startOpenAIDialectServer(
    (_, index) => answers[index] ?? { kind: 'status', status: 400, message: 'no further answer' },
  );
  closers.push(() => server.close());
  return server;
}

async function policyHost(...given: Parameters<typeof startPolicyHost>): Promise<PolicyHost> {
  const host = await startPolicyHost(...given);
  closers.push(() => host.close());
  return host;
}

const recorded = (host: MemoryHost, base: Fetch = fetch) =>
  recordedFetch(base, { recorder: host.recorder, adapter: 'test' });

function ask(baseUrl: string, more: object = {}): [url: string, init: RequestInit] {
  const body = JSON.stringify({ model: 'gpt', messages: [question], ...more });
  const headers = { authorization: 'Bearer of the user', 'openai-organization': 'org', cookie: 'private=1' };
  return [`${baseUrl}/chat/completions`, { method: 'POST', headers, body }];
}

/** The data of each event; what follows the last whole one must be nothing. */
function eventsOf(body: string): unknown[] {
  const events = body.split('\n\n');
  expect(events.pop()).toBe('');
  return events.map((event) => {
    const data = event.replace(/^data: /, '');
    return data === '[DONE]' ? data : (JSON.parse(data) as unknown);
  });
}

/** Nothing answers here. */
const nowhere = 'http://127.0.0.1:9/v1';

describe('on the incumbent', () => {
  it.each([false, true])('passes request and answer on as they are (stream: %s)', async (stream) => {
    const server = await incumbent(text, text);
    const host = memoryHost();
    const request = ask(server.baseUrl, { stream, temperature: 0.2, logprobs: true });
    const plain = await fetch(...request);
    const wrapped = await host.recorder.run({}, () => recorded(host)(...request));
    expect(wrapped).toBeInstanceOf(Response);
    expect([wrapped.status, wrapped.url, [...wrapped.headers.keys()]]).toEqual([
      plain.status,
      plain.url,
      [...plain.headers.keys()],
    ]);
    expect((await wrapped.text()).replaceAll('chatcmpl-2', 'chatcmpl-1')).toBe(await plain.text());
    expect(server.requests[1]).toEqual(server.requests[0]);
    expect(host.calls()).toMatchObject([
      {
        adapter: 'test',
        served: {
          requestedModel: 'gpt',
          respondedModel: 'gpt',
          policy: null,
          provider: new URL(server.baseUrl).host,
        },
        request: { messages: [question], parameters: { temperature: 0.2, logprobs: true } },
        response: {
          id: 'chatcmpl-2',
          message: { content: 'It is raining in Paris.', reasoning: 'Let me see. ' },
          finishReason: 'stop',
          usage: { outputTokens: fakeAnswerIds(text).length },
        },
        tokens: null,
        trainability: { reason: 'incumbent' },
        outcome: { status: 'ok' },
        streamed: stream,
      },
    ]);
    expect(host.faults()).toEqual({});
  });

  it('reads a Request object, and leaves everything that is no chat completion alone', async () => {
    const server = await incumbent(text, text);
    const host = memoryHost();
    const [url, init] = ask(server.baseUrl);
    const others: [string, RequestInit | undefined][] = [
      [`${server.baseUrl}/embeddings`, init],
      [url, { ...init, body: new TextEncoder().encode(init.body as string) }],
    ];
    await host.recorder.run({}, async () => {
      await recorded(host)(new Request(url, init));
      for (const [where, how] of others) await recorded(host)(where, how);
    });
    expect(host.calls()).toHaveLength(1);
    expect(server.requests).toHaveLength(3);
  });

  it('keeps the class of a foreign response', async () => {
    class OwnResponse extends Response {}
    const host = memoryHost();
    const own: Fetch = () =>
      Promise.resolve(OwnResponse.json({ choices: [{ message: { content: 'yes' } }] }));
    const response = await recorded(host, async (...given) => {
      const made = await own(...given);
      return new OwnResponse(made.body, { headers: made.headers });
    })(...ask(nowhere));
    expect(response).toBeInstanceOf(OwnResponse);
    expect(host.calls()).toMatchObject([{ response: { message: { content: 'yes' } } }]);
  });

  it('hands on what is no answer at all, on record and counted as no fault', async () => {
    const host = memoryHost();
    const odd = new Response('<html>', { headers: { 'content-type': 'text/html' } });
    expect(await recorded(host, () => Promise.resolve(odd))(...ask(nowhere))).toBe(odd);
    const standIn = { ok: true, json: () => ({}) } as unknown as Response;
    expect(await recorded(host, () => Promise.resolve(standIn))(...ask(nowhere))).toBe(standIn);
    expect(host.finished()).toHaveLength(2);
  });

  it('answers with an error status as it came, and rejects as it would have', async () => {
    const server = await incumbent({ kind: 'status', status: 429, message: 'slow down' });
    const host = memoryHost();
    await host.recorder.run({}, async () => {
      const response = await recorded(host)(...ask(server.baseUrl));
      expect([response.status, response.headers.get('retry-after-ms')]).toEqual([429, '1']);
      expect(await response.json()).toMatchObject({ error: { message: 'slow down' } });
      await expect(recorded(host)(...ask(nowhere))).rejects.toThrow(TypeError);
    });
    const [first, second] = host.calls();
    expect(first?.outcome).toEqual({ status: 'error', error: { name: 'HTTP 429', message: 'slow down' } });
    expect(second).toMatchObject({ outcome: { status: 'error' }, retryOf: first?.id });
  });

  it('breaks off where the answer breaks off, and keeps what came', async () => {
    const server = await incumbent(
      { kind: 'dead-socket', text: 'so far ' },
      { kind: 'dead-socket', text: '' },
    );
    const host = memoryHost();
    await host.recorder.run({}, async () => {
      const response = await recorded(host)(...ask(server.baseUrl, { stream: true }));
      await expect(response.text()).rejects.toThrow('terminated');
      const plain = await recorded(host)(...ask(server.baseUrl));
      expect(plain.status).toBe(200);
      await expect(plain.json()).rejects.toThrow('terminated');
    });
    expect(host.calls()).toMatchObject([
      { outcome: { status: 'error' }, response: { message: { content: 'so far ' } } },
      { outcome: { status: 'error' } },
    ]);
  });

  it('takes [DONE] for the end, not the end of the body', async () => {
    const server = await incumbent(text);
    const host = memoryHost();
    await host.recorder.run({}, async () => {
      const { body } = await recorded(host)(...ask(server.baseUrl, { stream: true }));
      const reader = (body as ReadableStream<Uint8Array>).getReader();
      const decoder = new TextDecoder();
      for (let seen = ''; !seen.includes('[DONE]');) seen += decoder.decode((await reader.read()).value);
      await reader.cancel();
    });
    expect(host.calls()).toMatchObject([{ outcome: { status: 'ok' }, response: { finishReason: 'stop' } }]);
  });

  it('reads nothing ahead of its reader', async () => {
    let pulls = 0;
    const endless = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulls += 1;
          controller.enqueue(new TextEncoder().encode(`data: {"choices":[{"delta":{"content":"x"}}]}\n\n`));
        },
      },
      { highWaterMark: 0 },
    );
    const host = memoryHost();
    const headers = { 'content-type': 'text/event-stream' };
    const base: Fetch = () => Promise.resolve(new Response(endless, { headers }));
    const { body } = await recorded(host, base)(...ask(nowhere, { stream: true }));
    const reader = (body as ReadableStream<Uint8Array>).getReader();
    for (let count = 0; count < 3; count += 1) await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(pulls).toBe(3);
    await reader.cancel();
    expect(host.calls()).toMatchObject([
      { outcome: { status: 'cancelled' }, response: { message: { content: 'xxx' } } },
    ]);
  });

  it('goes on where the recorder fails', async () => {
    const server = await incumbent(text);
    const host = memoryHost();
    const broken = recordedFetch(fetch, {
      recorder: host.recorder,
      adapter: 'test',
      runOf: () => {
        throw new Error('no run');
      },
    });
    const response = await broken(...ask(server.baseUrl));
    expect(await response.json()).toMatchObject({ choices: [{ finish_reason: 'stop' }] });
    expect(host.faults()).toEqual({ 'opening a run': 1 });
  });

  it('is silent below another recorder', async () => {
    const server = await incumbent(text);
    const host = memoryHost();
    await recorded(host, recorded(host))(...ask(server.baseUrl));
    expect(host.calls()).toHaveLength(1);
  });

  it('keeps no file and no picture', async () => {
    const server = await incumbent(text);
    const host = memoryHost();
    const content = [
      { type: 'text', text: 'What is this?' },
      { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw==' } },
      { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
      { type: 'input_audio', input_audio: { data: 'UklGRg==' } },
    ];
    await recorded(host)(...ask(server.baseUrl, { messages: [{ role: 'user', content }] }));
    expect(host.calls()[0]?.request.messages[0]?.content).toEqual([
      content[0],
      { type: 'image_url', omitted: true },
      content[2],
      { type: 'input_audio', omitted: true },
    ]);
  });
});

describe('on a policy', () => {
  it.each([false, true])('records ids and hands on an answer without them (stream: %s)', async (stream) => {
    const host = await policyHost([text]);
    const request = ask(nowhere, { stream, seed: 7, store: true, user: 'somebody' });
    const response = await host.recorder.run({}, () => recorded(host)(...request));
    const body = await response.text();
    for (const name of ['token_ids', 'prompt_token_ids', '"logprob"']) expect(body).not.toContain(name);
    if (stream) {
      const events = eventsOf(body);
      expect(events.at(-1)).toBe('[DONE]');
      const chunks = events.slice(0, -1) as { choices: { delta: { content?: string }; logprobs?: null }[] }[];
      expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(text.text);
      expect(chunks.every(({ choices }) => choices.length === 1)).toBe(true);
    } else {
      expect(JSON.parse(body)).toMatchObject({
        model: policy,
        choices: [{ message: { content: text.text }, logprobs: null }],
      });
    }
    const [sent] = host.server.requests;
    expect(sent?.headers['authorization']).toBe('Bearer secret-of-the-policy');
    expect(sent?.headers).not.toHaveProperty('openai-organization');
    expect(sent?.headers).not.toHaveProperty('cookie');
    expect(sent?.body).toEqual({
      model: policy,
      messages: [question],
      temperature: 1,
      top_p: 1,
      seed: 7,
      logprobs: true,
      return_token_ids: true,
      stream,
      ...(stream ? { stream_options: { include_usage: true } } : {}),
    });
    const ids = fakeAnswerIds(text);
    const [call] = host.calls();
    expect(call).toMatchObject({
      served: { requestedModel: 'gpt', respondedModel: policy, policy, baseDigest: 'sha256:base' },
      request: { parameters: { temperature: 1, top_p: 1, seed: 7, store: true } },
      response: { message: { content: text.text, reasoning: 'Let me see. ' } },
      tokens: { completionIds: ids, logprobs: ids.map((_, index) => fakeLogprob(index)) },
      trainability: { trainable: true },
    });
    expect(call?.tokens?.promptIds).toHaveLength(call?.response.usage.inputTokens ?? 0);
    expect(host.faults()).toEqual({});
  });

  it('leaves in the answer what the caller asked for', async () => {
    const host = await policyHost([text, text]);
    const asked = { logprobs: true, stream_options: { include_usage: true } };
    const response = await recorded(host)(...ask(nowhere, { ...asked, stream: true }));
    const events = eventsOf(await response.text()) as { usage?: object; choices: unknown[] }[];
    expect(events.at(-2)).toMatchObject({ choices: [], usage: { completion_tokens: 8 } });
    expect(JSON.stringify(events)).toContain('"logprob":-0.25');
    const plain = await recorded(host)(...ask(nowhere, { logprobs: true }));
    expect(await plain.text()).toContain('"logprob":-0.25');
  });

  it('sends arguments back as they were sampled, and puts the results of tools on record once', async () => {
    const host = await policyHost([tools, text, text]);
    const call = (id: string) => ({
      id,
      type: 'function',
      function: { name: 'weather', arguments: '{"days":1,"city":"Paris"}' },
    });
    const result = { role: 'tool', tool_call_id: 'call-a', content: [{ type: 'text', text: 'rain' }] };
    const history = [
      {
        role: 'developer',
        content: [
          { type: 'text', text: 'Be ' },
          { type: 'text', text: 'brief.' },
        ],
      },
      question,
      { role: 'assistant', content: 'Yes?', tool_calls: [] },
      question,
    ];
    const turn = [...history, { role: 'assistant', content: null, tool_calls: [call('call-a')] }, result];
    await host.recorder.run({}, async () => {
      const more = { tools: [{ type: 'function', function: { name: 'weather' } }] };
      await recorded(host)(...ask(nowhere, { messages: history, ...more }));
      await recorded(host)(...ask(nowhere, { messages: turn, ...more }));
      await recorded(host)(
        ...ask(nowhere, { messages: [...turn, { role: 'assistant', content: 'Rain.' }, question] }),
      );
    });
    expect(host.server.requests[1]?.body).toMatchObject({
      tool_choice: 'auto',
      messages: [
        { role: 'system', content: 'Be brief.' },
        question,
        { role: 'assistant', content: 'Yes?' },
        question,
        { role: 'assistant', tool_calls: [{ id: 'call-a', function: { arguments: rawArguments } }] },
        { role: 'tool', content: 'rain' },
      ],
    });
    expect(host.server.requests[1]?.body.messages[2]).not.toHaveProperty('tool_calls');
    const [trajectory] = host.finished();
    expect(trajectory?.events.map((event) => event.kind)).toEqual([
      'model-call',
      'tool-result',
      'model-call',
      'model-call',
    ]);
    expect(trajectory?.events[1]).toMatchObject({ toolName: 'weather', input: rawArguments, output: 'rain' });
  });

  it('marks a call whose ids and count differ, and one of several choices, as not trainable', async () => {
    const odd = { prompt_token_ids: [1], usage: { completion_tokens: 3 } };
    const choice = { message: { content: 'a' }, token_ids: [5], logprobs: { content: [{ logprob: -1 }] } };
    const host = memoryHost({
      choose: () => ({
        kind: 'policy',
        policy,
        step: 1,
        propensity: 1,
        onFailure: 'throw',
        endpoint: () => Promise.resolve({ baseUrl, apiKey: 'k', identity }),
      }),
    });
    const identity = {
      baseModel: 'b',
      baseDigest: 'd',
      tokenizerDigest: 't',
      chatTemplateDigest: 'c',
      contextLength: 1,
    };
    const { createServer } = await import('node:http');
    const server = createServer((_, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({
          ...odd,
          choices: [
            { ...choice, index: 0 },
            { ...choice, index: 1 },
          ],
        }),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closers.push(
      () =>
        new Promise((resolve) =>
          server.close(() => {
            resolve();
          }),
        ),
    );
    const { port } = server.address() as { port: number };
    const baseUrl = `http://127.0.0.1:${String(port)}/v1`;
    await recorded(host)(...ask(nowhere, { n: 2 }));
    expect(host.calls()[0]).toMatchObject({
      tokens: { completionIds: [5] },
      trainability: { trainable: false, reason: 'token-count-mismatch' },
    });
  });

  it.each([false, true])('in training hands on what went wrong (stream: %s)', async (stream) => {
    const host = await policyHost([{ kind: 'status', status: 503 }, { kind: 'error-chunk', text: '' }, text]);
    await host.recorder.run({}, async () => {
      const first = await recorded(host)(...ask(nowhere, { stream }));
      expect([first.status, first.headers.get('retry-after-ms')]).toEqual([503, '1']);
      const second = recorded(host)(...ask(nowhere, { stream }));
      if (stream) expect((await second).status).toBe(500);
      else await expect(second).rejects.toThrow(TypeError);
      expect((await recorded(host)(...ask(nowhere, { stream }))).status).toBe(200);
    });
    const calls = host.calls();
    expect(calls.map((call) => call.retryOf)).toEqual([undefined, calls[0]?.id, calls[1]?.id]);
  });

  it.each([false, true])('in production the incumbent answers for it (stream: %s)', async (stream) => {
    const own: DialectAnswer = { kind: 'text', text: 'from the incumbent' };
    const server = await incumbent(own, own, own);
    const failures: DialectAnswer[] = [
      { kind: 'status', status: 503 },
      { kind: 'dead-socket', text: '' },
      { kind: 'error-chunk', text: '' },
    ];
    const host = await policyHost(failures, 'incumbent');
    for (const _ of failures) {
      const response = await recorded(host)(...ask(server.baseUrl, { stream }));
      expect(await response.text()).toContain('incumbent');
    }
    for (const { events } of host.finished()) {
      expect(events).toMatchObject([
        { outcome: { status: 'error' }, served: { policy } },
        { outcome: { status: 'ok' }, served: { policy: null }, trainability: { reason: 'fallback' } },
      ]);
    }
    expect(host.finished()).toHaveLength(3);
  });

  it('hands on an error in the middle of a stream, and the break of a socket', async () => {
    const host = await policyHost(
      [
        { kind: 'error-chunk', text: 'so far ' },
        { kind: 'dead-socket', text: 'so far ' },
      ],
      'incumbent',
    );
    await host.recorder.run({}, async () => {
      const first = await recorded(host)(...ask(nowhere, { stream: true }));
      expect(eventsOf(await first.text()).at(-1)).toMatchObject({ error: { message: 'scripted failure' } });
      const second = await recorded(host)(...ask(nowhere, { stream: true }));
      await expect(second.text()).rejects.toThrow('terminated');
    });
    for (const call of host.calls()) {
      expect(call.outcome.status).toBe('error');
      expect(call.tokens?.completionIds).toEqual(fakeAnswerIds({ kind: 'text', text: 'so far ' }));
    }
  });

  it('takes an abort and a reader that leaves for what they are, and tells the server', async () => {
    const host = await policyHost(() => ({ kind: 'hang', text: 'so far ' }), 'incumbent');
    const controller = new AbortController();
    const open = async (signal?: AbortSignal) => {
      const [url, init] = ask(nowhere, { stream: true });
      const response = await recorded(host)(url, { ...init, ...(signal === undefined ? {} : { signal }) });
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      for (let count = 0; count < 3; count += 1) await reader.read();
      return reader;
    };
    await host.recorder.run({}, async () => {
      const aborted = await open(controller.signal);
      const pending = aborted.read();
      controller.abort();
      await expect(pending).rejects.toThrow(/abort/i);
      const left = await open();
      await left.cancel();
      const [url, init] = ask(nowhere);
      await expect(recorded(host)(url, { ...init, signal: AbortSignal.timeout(20) })).rejects.toThrow(
        /timeout/i,
      );
    });
    await expect.poll(() => host.server.abandoned).toBe(3);
    expect(host.calls().map((call) => call.outcome.status)).toEqual(['aborted', 'cancelled', 'aborted']);
    expect(host.calls()[0]?.tokens?.completionIds).toHaveLength(2);
  });
});
