/** Agents on LangChain, rerouted to a policy over real HTTP: what they get, what is sent, what is recorded. */
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { apprenticeMiddleware, instrument, wrapModel } from '../src/adapters/langchain/index.ts';
import {
  fakeAnswerIds,
  startOpenAIDialectServer,
  type DialectServer,
} from '../src/testing/openai-dialect-server.ts';
import { policy, startPolicyHost, type PolicyHost } from '../src/testing/policy-host.ts';
import {
  comparable,
  createAgent,
  entryPoints,
  rawArguments,
  weatherModel,
  weatherTool,
  type Model,
} from './langchain-entry-points.ts';
import { scriptedModel, storedBytes } from './langchain-models.ts';
import { sets, type LangChainSet } from './langchain-sets.ts';

let host: PolicyHost;
const servers: DialectServer[] = [];
afterEach(async () => {
  await Promise.all([host.close(), ...servers.splice(0).map((server) => server.close())]);
});

const question = { messages: [{ role: 'user', content: 'What is the weather in Paris?' }] };

function chatModel({ openai }: LangChainSet, baseURL = 'http://127.0.0.1:9/v1', more: object = {}): Model {
  return new openai.ChatOpenAI({
    model: 'incumbent-1',
    apiKey: 'key-of-the-user',
    configuration: { baseURL, defaultHeaders: { 'x-user': 'private' } },
    ...more,
  });
}

describe.each(sets)('$name on a policy', (set) => {
  it.each(entryPoints)(
    '$name: ids = logprobs = usage, and the result is that of the bare server',
    async ({ run }) => {
      const server = await startOpenAIDialectServer(weatherModel);
      servers.push(server);
      const plain = comparable(await run(set, chatModel(set, server.baseUrl)), ['incumbent-1']);
      host = await startPolicyHost(weatherModel);
      const result = await run(set, wrapModel(chatModel(set), host));
      expect(comparable(result, [policy])).toEqual(plain);
      expect(JSON.stringify(result)).not.toMatch(/token_ids|"logprob"/);

      const calls = host
        .finished()
        .flatMap(({ events }) => events.filter((one) => one.kind === 'model-call'));
      expect(calls).toHaveLength(server.requests.length);
      for (const call of calls) {
        const { tokens, response, served, trainability } = call;
        expect(trainability).toEqual({ trainable: true });
        expect(served).toMatchObject({ requestedModel: 'incumbent-1', policy, baseDigest: 'sha256:base' });
        expect(tokens?.completionIds.length).toBeGreaterThan(0);
        expect(tokens?.logprobs).toHaveLength(tokens?.completionIds.length ?? -1);
        expect(response.usage.outputTokens).toBe(tokens?.completionIds.length);
        expect(response.usage.inputTokens).toBe(tokens?.promptIds.length);
      }
      for (const { headers, body } of host.server.requests) {
        expect(headers.authorization).toBe('Bearer secret-of-the-policy');
        expect(headers).not.toHaveProperty('x-user');
        expect(body).toMatchObject({ model: policy, return_token_ids: true, temperature: 1, top_p: 1 });
      }
      expect(host.faults()).toEqual({});
    },
  );

  it('sends the history as it was sampled, the same on every way', async () => {
    const ways = entryPoints.filter(({ name }) => /^create(React)?Agent\./.test(name));
    const histories: unknown[] = [];
    for (const { run } of ways) {
      host = await startPolicyHost(weatherModel);
      await run(set, wrapModel(chatModel(set), host));
      histories.push(host.server.requests[1]?.body.messages);
      await host.close();
    }
    const [first] = histories;
    expect(first).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'What is the weather in Paris?' },
      {
        role: 'assistant',
        content: '',
        tool_calls: [
          { id: 'call-2', type: 'function', function: { name: 'weather', arguments: rawArguments } },
        ],
      },
      { role: 'tool', name: 'weather', tool_call_id: 'call-2', content: 'rain in Paris' },
    ]);
    for (const history of histories) expect(history).toEqual(first);
  });

  it('adds at most 1 % to what a checkpointer holds of 10 turns, ids and logprobs included', async () => {
    const answer = { kind: 'text', text: 'word '.repeat(500) } as const;
    const turns = async (model: Model) => {
      const saver = new set.graph.MemorySaver();
      const agent = createAgent(set, model, { checkpointer: saver });
      for (let turn = 0; turn < 10; turn += 1) {
        const input = { messages: [{ role: 'user', content: `turn ${String(turn)}` }] };
        const config = { configurable: { thread_id: 'thread-1' } };
        if (turn % 2 === 0) await agent.invoke(input, config);
        else for await (const _ of await agent.stream(input, { ...config, streamMode: 'messages' }));
      }
      return storedBytes(saver);
    };
    const server = await startOpenAIDialectServer(() => answer);
    servers.push(server);
    const plain = await turns(chatModel(set, server.baseUrl));
    host = await startPolicyHost(() => answer);
    const recorded = await turns(wrapModel(chatModel(set), host));
    expect(plain).toBeGreaterThan(10 * answer.text.length);
    expect(Math.abs(recorded / plain - 1)).toBeLessThanOrEqual(0.01);
    const calls = host.finished().flatMap(({ events }) => events.filter((one) => one.kind === 'model-call'));
    expect(calls.map(({ tokens }) => tokens?.logprobs.length)).toEqual(Array(10).fill(500));
  });

  it('keeps 100 runs at once apart without any scope, each thread in its own trajectory', async () => {
    host = await startPolicyHost((request) => {
      const asked = request.body.messages.find((message) => message['role'] === 'user')?.['content'];
      const answer = weatherModel(request);
      return answer.kind === 'text' ? { ...answer, text: `answer to ${String(asked)}` } : answer;
    });
    const agent = createAgent(set, wrapModel(chatModel(set), host), {
      checkpointer: new set.graph.MemorySaver(),
    });
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const content = `question ${String(index)}`;
        const input = { messages: [{ role: 'user', content }] };
        const config = { configurable: { thread_id: content } };
        if (index % 2 === 0) await agent.invoke(input, config);
        else for await (const _part of await agent.stream(input, { ...config, streamMode: 'messages' }));
      }),
    );
    const trajectories = host.finished();
    expect(trajectories).toHaveLength(100);
    for (const { threadId, events } of trajectories) {
      expect(events).toMatchObject([
        { kind: 'model-call', trainability: { trainable: true } },
        { kind: 'tool-result', output: 'rain in Paris' },
        { kind: 'model-call', response: { message: { content: `answer to ${String(threadId)}` } } },
      ]);
    }
  });

  it('keeps the incumbent in reserve: it answers for a policy that fails, on every way', async () => {
    const server = await startOpenAIDialectServer(weatherModel);
    servers.push(server);
    host = await startPolicyHost(() => ({ kind: 'status', status: 500 }), 'incumbent');
    const model = wrapModel(chatModel(set, server.baseUrl), host);
    const agent = createAgent(set, model);
    const { messages } = await agent.invoke(question);
    expect(messages.at(-1)?.text).toBe('It is raining in Paris.');
    for await (const _ of await agent.stream(question, { streamMode: 'messages' }));
    for await (const _ of await model.stream('hello'));
    const calls = host.finished().flatMap(({ events }) => events.filter((one) => one.kind === 'model-call'));
    expect(
      calls.map(({ outcome, trainability }) => [
        outcome.status,
        'reason' in trainability && trainability.reason,
      ]),
    ).toEqual(
      Array.from({ length: 5 }, () => [
        ['error', 'incomplete'],
        ['ok', 'fallback'],
      ]).flat(),
    );
  });

  it('fails a call of a rollout whose policy fails', async () => {
    host = await startPolicyHost(() => ({ kind: 'status', status: 400, message: 'no such adapter' }));
    const model = wrapModel(chatModel(set), host);
    await expect(model.invoke('hello')).rejects.toThrow('no such adapter');
    await expect(model.stream('hello')).rejects.toThrow('no such adapter');
  });

  it('ends a call that is aborted, and keeps what came of a stream', async () => {
    host = await startPolicyHost(() => ({ kind: 'hang', text: 'so far ' }));
    const model = wrapModel(chatModel(set), host);
    await expect(model.invoke('hello', { signal: AbortSignal.timeout(30) })).rejects.toThrow(
      /abort|timeout/i,
    );
    const controller = new AbortController();
    await expect(
      (async () => {
        for await (const chunk of await model.stream('hello', { signal: controller.signal }))
          if (chunk.text !== '') controller.abort();
      })(),
    ).rejects.toThrow(/abort/i);
    for await (const chunk of await model.stream('hello')) if (chunk.text !== '') break;
    await expect.poll(() => host.server.abandoned).toBe(host.server.requests.length);
    const calls = host.finished().flatMap(({ events }) => events.filter((one) => one.kind === 'model-call'));
    expect(calls.map((call) => call.outcome.status)).not.toContain('ok');
    expect(calls.map((call) => call.trainability)).not.toContainEqual({ trainable: true });
    const [first] = fakeAnswerIds({ kind: 'text', text: 'so far ' });
    for (const call of calls.filter((one) => one.streamed)) expect(call.tokens?.completionIds[0]).toBe(first);
  });

  it('answers for models of other providers, with the tools that were bound to them', async () => {
    host = await startPolicyHost(weatherModel);
    const { ChatOpenAI } = set.openai;
    const model = wrapModel(scriptedModel(set, []), host, { policy: { ChatOpenAI } });
    const { messages } = await createAgent(set, model).invoke(question);
    expect(messages.map((message) => message.text)).toEqual([
      'What is the weather in Paris?',
      '',
      'rain in Paris',
      'It is raining in Paris.',
    ]);
    const place = { name: 'place', schema: z.object({ city: z.string() }) };
    const anthropic = { name: 'weather', description: 'd', input_schema: { type: 'object', properties: {} } };
    const bound = model.withConfig({
      tools: [anthropic],
      tool_choice: { type: 'tool', name: 'weather' },
    } as object);
    await bound.invoke('weather?');
    expect(host.server.requests.at(-1)?.body).toMatchObject({
      tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
      tool_choice: { type: 'function', function: { name: 'weather' } },
    });
    const structured = model.withStructuredOutput(place.schema, { name: 'extract-place' });
    expect(await structured.invoke('Where?')).toEqual({ city: 'Paris' });
  });

  it('answers for Azure’s class, and for models that are made by their names', async () => {
    host = await startPolicyHost(weatherModel);
    const azure = new set.openai.AzureChatOpenAI({
      model: 'incumbent-1',
      azureOpenAIApiKey: 'key-of-the-user',
      azureOpenAIApiInstanceName: 'instance',
      azureOpenAIApiDeploymentName: 'deployment',
      azureOpenAIApiVersion: '2025-01-01',
    });
    const byName = await set.langchain.initChatModel('gpt-4o', {
      modelProvider: 'openai',
      apiKey: 'key-of-the-user',
    });
    process.env['OPENAI_API_KEY'] = 'key-of-the-user';
    const named = (more: object) => createAgent(set, 'openai:gpt-4o' as never, more);
    const agents = [
      createAgent(set, wrapModel(azure, host)),
      createAgent(set, wrapModel(byName, host)),
      named({ middleware: [apprenticeMiddleware(host)] }),
      instrument(named({}), host),
    ];
    for (const agent of agents) {
      const { messages } = await agent.invoke(question);
      expect(messages.at(-1)?.text).toBe('It is raining in Paris.');
    }
    const calls = host.finished().flatMap(({ events }) => events.filter((one) => one.kind === 'model-call'));
    expect(calls.map((call) => call.trainability)).toEqual(calls.map(() => ({ trainable: true })));
    expect(calls).toHaveLength(2 * agents.length);
    expect(() => wrapModel('openai:gpt-4o' as never, host)).toThrow(/Option "model".*initChatModel/);
  });

  it('reroutes by middleware and in instrumented agents, and leaves models beside the task alone', async () => {
    host = await startPolicyHost(weatherModel);
    const withMiddleware = createAgent(set, chatModel(set), {
      middleware: [apprenticeMiddleware(host), set.langchain.modelRetryMiddleware({ maxRetries: 0 })],
    });
    await withMiddleware.invoke(question);
    await instrument(createAgent(set, chatModel(set)), host).invoke(question);
    const beside = wrapModel(scriptedModel(set, ['a summary']), host, { reroute: false });
    expect((await beside.invoke('Sum up.')).text).toBe('a summary');
    expect(host.server.requests).toHaveLength(4);
    // The lone call is over first: agents may go on.
    expect(host.finished()).toMatchObject([
      { events: [{ trainability: { reason: 'incumbent' } }] },
      { policy, events: [{}, { kind: 'tool-result', toolName: 'weather', input: rawArguments }, {}] },
      { policy, events: [{}, { kind: 'tool-result', toolName: 'weather' }, {}] },
    ]);
  });

  it('has the policy answer in the shape that the incumbent is asked for: the profile stays', async () => {
    host = await startPolicyHost(weatherModel);
    const model = wrapModel(chatModel(set, undefined, { model: 'gpt-4o' }), host);
    const agent = createAgent(set, model, { responseFormat: z.object({ city: z.string() }) });
    expect(await agent.invoke(question)).toMatchObject({ structuredResponse: { city: 'Paris' } });
    expect(host.server.requests.at(-1)?.body['response_format']).toMatchObject({ type: 'json_schema' });
  });

  it('takes over settings that were bound before, temperature included, unless it is told another', async () => {
    host = await startPolicyHost(weatherModel);
    const bound = chatModel(set, undefined, { temperature: 0, maxTokens: 9, streaming: true }).bindTools([
      weatherTool(set),
    ]);
    await wrapModel(bound, host).invoke('weather?');
    await wrapModel(bound, host, { policy: { temperature: 1 } }).invoke('weather?');
    expect(host.server.requests.map(({ body }) => body)).toMatchObject([
      { temperature: 0, max_tokens: 9, tools: [{ function: { name: 'weather' } }], stream: false },
      { temperature: 1, max_tokens: 9, tools: [{ function: { name: 'weather' } }], stream: false },
    ]);
    const reasons = host
      .finished()
      .map(({ events: [call] }) => call?.kind === 'model-call' && call.trainability);
    expect(reasons).toMatchObject([{ reason: 'temperature-not-1' }, { trainable: true }]);
  });
});
