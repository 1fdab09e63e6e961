import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { memoryHost, type MemoryHost } from '../../testing/memory-host.ts';
import {
  fakeAnswerIds,
  fakeLogprob,
  startOpenAIDialectServer,
  type DialectAnswer,
} from '../../testing/openai-dialect-server.ts';
import { policy, routeTo, startPolicyHost, type PolicyHost } from '../../testing/policy-host.ts';
import { ask, nowhere, question, recorded, text } from '../../testing/wire-scene.ts';

const rawArguments = '{"days": 1.0,  "city": "Paris"}';
const tools: DialectAnswer = {
  kind: 'tools',
  calls: [{ id: 'call-a', name: 'weather', arguments: rawArguments }],
};

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function policyHost(...given: Parameters<typeof startPolicyHost>): Promise<PolicyHost> {
  const host = await startPolicyHost(...given);
  closers.push(() => host.close());
  return host;
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

/** A host whose policy says `body` to everything. */
async function hostOn(type: string, body: string): Promise<MemoryHost> {
  const server = createServer((_, response) => response.setHeader('content-type', type).end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(
    () =>
      new Promise((resolve) =>
        server.close(() => {
          resolve();
        }),
      ),
  );
  const { port } = server.address() as AddressInfo;
  return memoryHost({ choose: () => routeTo(`http://127.0.0.1:${String(port)}/v1`) });
}

describe('recordedFetch on a policy', () => {
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

  it('marks a call whose ids and count differ, as with several choices, as not trainable', async () => {
    const head = { prompt_token_ids: [1], usage: { completion_tokens: 3 } };
    const choice = { message: { content: 'a' }, token_ids: [5], logprobs: { content: [{ logprob: -1 }] } };
    const choices = [choice, { ...choice, index: 1 }];
    const host = await hostOn('application/json', JSON.stringify({ ...head, choices }));
    await recorded(host)(...ask(nowhere, { n: 2 }));
    expect(host.calls()[0]).toMatchObject({
      tokens: { completionIds: [5] },
      trainability: { trainable: false, reason: 'token-count-mismatch' },
    });
  });

  const piece = (delta: object, finish: string | null) =>
    `data: ${JSON.stringify({ choices: [{ delta, finish_reason: finish, token_ids: [5] }] })}\n\n`;

  it.each(['', piece({ content: 'a' }, null)])(
    'lets no answer that was cut off pass for whole (%j)',
    async (body) => {
      const host = await hostOn('text/event-stream', body);
      const read = async () => (await recorded(host)(...ask(nowhere, { stream: true }))).text();
      await expect(read()).rejects.toThrow('broke off before its end');
      expect(host.calls()).toMatchObject([{ outcome: { status: 'error' } }]);
    },
  );

  it('takes a finish reason for the end where no mark follows', async () => {
    const host = await hostOn('text/event-stream', piece({ content: 'a' }, 'stop'));
    await (await recorded(host)(...ask(nowhere, { stream: true }))).text();
    expect(host.calls()).toMatchObject([{ outcome: { status: 'ok' } }]);
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
    const server = await startOpenAIDialectServer(() => own);
    closers.push(() => server.close());
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
