import { afterEach, describe, expect, it } from 'vitest';
import { memoryHost } from '../../testing/memory-host.ts';
import {
  fakeAnswerIds,
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectServer,
} from '../../testing/openai-dialect-server.ts';
import { ask, nowhere, question, recorded, text } from '../../testing/wire-scene.ts';
import { recordedFetch, type Fetch } from './recorded-fetch.ts';

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

describe('recordedFetch on the incumbent', () => {
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

  it('hands on what is no answer at all, on record, and no fault', async () => {
    const host = memoryHost();
    const odd = new Response('<html>', { headers: { 'content-type': 'text/html' } });
    expect(await recorded(host, () => Promise.resolve(odd))(...ask(nowhere))).toBe(odd);
    const standIn = { ok: true, json: () => ({}) } as unknown as Response;
    expect(await recorded(host, () => Promise.resolve(standIn))(...ask(nowhere))).toBe(standIn);
    expect(host.finished()).toHaveLength(2);
    expect(host.faults()).toEqual({});
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
