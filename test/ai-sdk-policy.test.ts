/** Agents on the AI SDK, rerouted to a policy over real HTTP: what they get, what is sent, what is recorded. */
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { wrapModel } from '../src/adapters/ai-sdk/index.ts';
import { fakeAnswerIds, fakeLogprob, type DialectAnswer } from '../src/testing/openai-dialect-server.ts';
import { makeAgent, majors, outputField, ScriptedModel, type AiSdk, type Scripted } from './models.ts';
import { policy, startPolicyHost, type PolicyHost } from '../src/testing/policy-host.ts';

/** Spaces, a float and an order of keys that no serialiser would give. */
const rawArguments = '{"days": 1.0,  "city": "Paris"}';
const toolCall: DialectAnswer = {
  kind: 'tools',
  calls: [{ id: 'call-a', name: 'weather', arguments: rawArguments }],
};
const text: DialectAnswer = { kind: 'text', text: 'It is raining in Paris.' };

let host: PolicyHost;
afterEach(() => host.close());

async function partsOf(stream: AsyncIterable<unknown>): Promise<{ type: string; [key: string]: unknown }[]> {
  const parts: { type: string }[] = [];
  for await (const part of stream) parts.push(part as { type: string });
  return parts;
}

describe.each(majors)('$name on a policy', ({ ai, version }) => {
  const model = (incumbent: readonly Scripted[] = []) =>
    wrapModel(new ScriptedModel(version, incumbent), host);
  const settings = (more: object = {}): object => ({
    model: model(),
    prompt: 'What is the weather in Paris?',
    maxRetries: 0,
    stopWhen: ai.stepCountIs(3),
    onError: () => undefined,
    tools: weather(ai),
    ...more,
  });

  it('answers generateText, with the tokens on record and out of sight', async () => {
    host = await startPolicyHost([text]);
    const result = await host.recorder.run({ scenario: 's' }, () =>
      ai.generateText(settings({ headers: { 'x-user': 'private' }, seed: 7, stopSequences: ['END'] })),
    );
    expect(result).toMatchObject({ text: text.text, finishReason: 'stop', response: { modelId: policy } });
    expect(JSON.stringify(result)).not.toContain('token_ids":[');
    const [request] = host.server.requests;
    expect(request?.headers).toMatchObject({ authorization: 'Bearer secret-of-the-policy' });
    expect(request?.headers).not.toHaveProperty('x-user');
    expect(request?.body).toMatchObject({
      model: policy,
      logprobs: true,
      return_token_ids: true,
      temperature: 1,
      top_p: 1,
      seed: 7,
      stop: ['END'],
      tool_choice: 'auto',
      tools: [{ type: 'function', function: { name: 'weather' } }],
    });
    const [call] = host.calls();
    const ids = fakeAnswerIds(text);
    expect(call).toMatchObject({
      served: { requestedModel: 'scripted-1', respondedModel: policy, policy, baseDigest: 'sha256:base' },
      trainability: { trainable: true },
      tokens: { completionIds: ids, logprobs: ids.map((_, index) => fakeLogprob(index)) },
      response: { message: { content: text.text }, finishReason: 'stop' },
    });
    expect(call?.tokens?.promptIds).toHaveLength(call?.response.usage.inputTokens ?? 0);
  });

  it('answers streamText with reasoning, the same tokens on record', async () => {
    const answer: DialectAnswer = { kind: 'text', reasoning: 'Let me see. ', text: 'It is raining.' };
    host = await startPolicyHost([answer]);
    const parts = await host.recorder.run({}, () => partsOf(ai.streamText(settings()).fullStream));
    const said = (type: string) =>
      parts.filter((part) => part.type === type).map((part) => part['text'] ?? part['delta']);
    expect(said('text-delta').join('')).toBe('It is raining.');
    expect(said('reasoning-delta').join('')).toBe('Let me see. ');
    expect(host.server.requests[0]?.body['stream_options']).toEqual({ include_usage: true });
    expect(host.calls()).toMatchObject([
      {
        streamed: true,
        outcome: { status: 'ok' },
        trainability: { trainable: true },
        tokens: { completionIds: fakeAnswerIds(answer) },
        response: { message: { content: 'It is raining.', reasoning: 'Let me see. ' } },
      },
    ]);
  });

  const ways: readonly (readonly [string, (more?: object) => Promise<unknown>])[] = [
    ['generateText', (more) => ai.generateText(settings(more))],
    ['streamText', (more) => partsOf(ai.streamText(settings(more)).fullStream)],
    [
      'agent.generate',
      () =>
        makeAgent(ai, { ...settings(), instructions: 'Be brief.' }).generate({ prompt: 'Weather in Paris?' }),
    ],
    [
      'agent.stream',
      async () => {
        const agent = makeAgent(ai, { ...settings(), instructions: 'Be brief.' });
        return partsOf((await agent.stream({ prompt: 'Weather in Paris?' })).fullStream);
      },
    ],
  ];

  it.each(ways)('%s loops over tools and sends arguments back as they were sampled', async (_, way) => {
    host = await startPolicyHost([toolCall, toolCall2, text]);
    await host.recorder.run({}, () => way());
    const last = host.server.requests[2]?.body.messages ?? [];
    const assistant = last.filter((message) => message['role'] === 'assistant');
    expect(assistant).toMatchObject([
      { tool_calls: [{ id: 'call-a', function: { name: 'weather', arguments: rawArguments } }] },
      { tool_calls: [{ id: 'call-b' }, { id: 'call-c' }] },
    ]);
    const [trajectory] = host.finished();
    expect(trajectory?.events.map((event) => event.kind)).toEqual([
      'model-call',
      'tool-result',
      'model-call',
      'tool-result',
      'tool-result',
      'model-call',
    ]);
    expect(trajectory?.events[1]).toMatchObject({
      toolName: 'weather',
      input: rawArguments,
      output: { city: 'Paris', weather: 'rain' },
    });
    expect(host.calls().map((call) => call.trainability.trainable)).toEqual([true, true, true]);
    expect(trajectory?.policy).toBe(policy);
  });

  it.each(ways.slice(0, 2))('%s goes on after arguments that are no JSON', async (_, way) => {
    const broken = '{"city": "Par';
    const call = { id: 'call-a', name: 'weather', arguments: broken };
    host = await startPolicyHost([{ kind: 'tools', calls: [call] }, text]);
    await host.recorder.run({}, () => way());
    expect(host.server.requests[1]?.body.messages.find((one) => one['role'] === 'assistant')).toMatchObject({
      tool_calls: [{ function: { arguments: broken } }],
    });
    expect(host.calls().map((one) => one.outcome.status)).toEqual(['ok', 'ok']);
    expect(host.finished()[0]?.events[1]).toMatchObject({
      kind: 'tool-result',
      error: expect.any(String) as string,
    });
  });

  it('gives structured output by schema', async () => {
    host = await startPolicyHost(() => ({ kind: 'text', text: '{"city": "Paris"}' }));
    const schema = z.object({ city: z.string() });
    const prompt = { model: model(), prompt: 'Where?', maxRetries: 0 };
    const field = outputField(version);
    await host.recorder.run({}, async () => {
      expect((await ai.generateObject({ ...prompt, schema }))['object']).toEqual({ city: 'Paris' });
      const streamed = ai.streamObject({ ...prompt, schema });
      await partsOf(streamed.fullStream);
      expect(await streamed.object).toEqual({ city: 'Paris' });
      const result = await ai.generateText({ ...prompt, [field]: ai.Output.object({ schema }) });
      expect(result[field]).toEqual({ city: 'Paris' });
    });
    for (const { body } of host.server.requests) {
      expect(body['response_format']).toMatchObject({
        type: 'json_schema',
        json_schema: { schema: { properties: { city: { type: 'string' } } } },
      });
    }
    expect(host.calls()).toHaveLength(3);
  });

  it('keeps 100 parallel runs apart', async () => {
    host = await startPolicyHost(({ body }) => {
      const question = String(body.messages.find((message) => message['role'] === 'user')?.['content']);
      const done = body.messages.some((message) => message['role'] === 'tool');
      return done
        ? { kind: 'text', text: `answer to ${question}` }
        : {
            kind: 'tools',
            calls: [{ id: 'same-id', name: 'weather', arguments: `{"city": "${question}"}` }],
          };
    });
    const wrapped = model();
    const run = (index: number) => {
      const more = { model: wrapped, prompt: `question ${String(index)}` };
      return host.recorder.run({ scenario: more.prompt }, () =>
        index % 2 === 0 ? ai.generateText(settings(more)) : partsOf(ai.streamText(settings(more)).fullStream),
      );
    };
    await Promise.all(Array.from({ length: 100 }, (_, index) => run(index)));
    const trajectories = host.finished();
    expect(trajectories).toHaveLength(100);
    for (const { scenario, events } of trajectories) {
      expect(events.map((event) => event.kind)).toEqual(['model-call', 'tool-result', 'model-call']);
      expect(JSON.stringify(events[0])).toContain(`{\\"city\\": \\"${String(scenario)}\\"}`);
      expect(events[2]).toMatchObject({
        response: { message: { content: `answer to ${String(scenario)}` } },
      });
    }
  });

  it('keeps a stream in the run that made it, also when another run reads it', async () => {
    host = await startPolicyHost([toolCall, text]);
    const result = host.recorder.run({ scenario: 'maker' }, () => ai.streamText(settings()));
    await host.recorder.run({ scenario: 'reader' }, () => partsOf(result.fullStream));
    const counts = host.finished().map(({ scenario, events }) => [scenario, events.length]);
    expect(Object.fromEntries(counts)).toEqual({ maker: 3, reader: 0 });
  });

  it('takes an abort before the call, in a plain call and in a stream for what it is', async () => {
    host = await startPolicyHost(() => ({ kind: 'hang', text: 'so far ' }));
    const plain = host.recorder.run({}, () =>
      ai.generateText(settings({ abortSignal: AbortSignal.timeout(50) })),
    );
    await expect(plain).rejects.toThrow(/abort|timeout/i);
    await expect(
      host.recorder.run({}, () => ai.generateText(settings({ abortSignal: AbortSignal.abort() }))),
    ).rejects.toThrow(/abort/i);
    const controller = new AbortController();
    await host.recorder.run({}, async () => {
      for await (const part of ai.streamText(settings({ abortSignal: controller.signal })).fullStream) {
        if ((part as { type: string }).type === 'text-delta') controller.abort();
      }
    });
    await expect.poll(() => host.server.abandoned).toBe(host.server.requests.length);
    const calls = host
      .finished()
      .flatMap(({ events }) => events.filter((event) => event.kind === 'model-call'));
    expect(calls.map((call) => call.outcome.status)).toEqual(calls.map(() => 'aborted'));
    const streamed = calls.find((call) => call.streamed);
    expect(streamed?.tokens?.completionIds).toEqual(fakeAnswerIds({ kind: 'text', text: 'so far ' }));
    expect(streamed?.trainability).toEqual({ trainable: false, reason: 'incomplete', detail: 'aborted' });
  });

  it('keeps what came of a stream that its reader leaves', async () => {
    host = await startPolicyHost([{ kind: 'hang', text: 'so far ' }]);
    await host.recorder.run({}, async () => {
      for await (const part of ai.streamText(settings()).fullStream)
        if ((part as { type: string }).type === 'text-delta') break;
    });
    const [call] = host.calls();
    expect(['abandoned', 'cancelled']).toContain(call?.outcome.status);
    expect(call?.tokens?.completionIds).toEqual(fakeAnswerIds({ kind: 'text', text: 'so far ' }));
  });

  it.each(['error-chunk', 'dead-socket'] as const)('reports a stream that ends by %s', async (kind) => {
    host = await startPolicyHost([{ kind, text: 'so far ' }]);
    const seen: unknown[] = [];
    await host.recorder.run({}, async () => {
      try {
        for await (const part of ai.streamText(settings()).fullStream) seen.push(part);
      } catch (error) {
        seen.push({ type: 'error', error });
      }
    });
    const { error } = z.object({ error: z.instanceof(Error) }).parse(seen.find(isError));
    expect(error).toMatchObject({ name: 'AI_APICallError' });
    expect(host.calls()).toMatchObject([
      {
        outcome: { status: 'error', error: { name: 'AI_APICallError' } },
        trainability: { reason: 'incomplete' },
      },
    ]);
  });

  it.each(ways.slice(0, 2))(
    '%s is tried again after a 500, on record as two linked calls',
    async (_, way) => {
      host = await startPolicyHost([{ kind: 'status', status: 500 }, text]);
      await host.recorder.run({}, () => way({ maxRetries: 1 }));
      const [first, second] = host.calls();
      expect(first?.outcome.status).toBe('error');
      expect(second).toMatchObject({ outcome: { status: 'ok' }, retryOf: first?.id });
    },
  );

  it.each(ways.slice(0, 2))(
    '%s is tried again after a socket that died early',
    async (_, way) => {
      host = await startPolicyHost([{ kind: 'dead-socket', text: '' }, text]);
      await host.recorder.run({}, () => way({ maxRetries: 1 }));
      expect(host.calls().map((call) => call.outcome.status)).toEqual(['error', 'ok']);
    },
    20_000,
  );

  it.each(ways.slice(0, 2))('%s falls back to the incumbent in production', async (name, way) => {
    const failure: DialectAnswer =
      name === 'streamText' ? { kind: 'error-chunk', text: '' } : { kind: 'status', status: 503 };
    host = await startPolicyHost([failure], 'incumbent');
    const own = model([{ kind: 'text', text: 'from the incumbent' }]);
    const result = await host.recorder.run({}, () => way({ model: own }));
    expect(JSON.stringify(result)).toContain('incumbent');
    const [first, second] = host.calls();
    expect(first).toMatchObject({ outcome: { status: 'error' }, served: { policy } });
    expect(second).toMatchObject({
      served: { policy: null },
      trainability: { reason: 'fallback' },
      retryOf: first?.id,
    });
  });

  it('does not fall back once a part was given, nor in training', async () => {
    host = await startPolicyHost([{ kind: 'error-chunk', text: 'so far ' }], 'incumbent');
    const own = new ScriptedModel(version, []);
    await host.recorder.run({}, () =>
      partsOf(ai.streamText(settings({ model: wrapModel(own, host) })).fullStream),
    );
    expect(own.calls).toBe(0);
    await host.close();
    host = await startPolicyHost([{ kind: 'status', status: 503 }]);
    const training = ai.generateText(settings({ model: wrapModel(own, host) }));
    await expect(training).rejects.toThrow('scripted failure');
    expect(own.calls).toBe(0);
  });

  it('warns of what a policy cannot honour, and sends images along', async () => {
    host = await startPolicyHost([text]);
    const wrapped = model();
    expect(wrapped.supportedUrls).toEqual({});
    const content = [
      { type: 'text', text: 'What is this?' },
      { type: version === 'v4' ? 'file' : 'image', ...imageFields(version) },
    ];
    const result = await ai.generateText(
      settings({ model: wrapped, prompt: undefined, messages: [{ role: 'user', content }], topK: 4 }),
    );
    expect(JSON.stringify(result['warnings'])).toContain('topK');
    expect(host.server.requests[0]?.body.messages).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw==' } },
        ],
      },
    ]);
  });
});

const toolCall2: DialectAnswer = {
  kind: 'tools',
  text: 'And there? ',
  calls: [
    { id: 'call-b', name: 'weather', arguments: '{"city":"Rome"}' },
    { id: 'call-c', name: 'weather', arguments: '{ "city": "Oslo" }' },
  ],
};

function isError(part: unknown): boolean {
  return (part as { type: string }).type === 'error';
}

function weather(ai: AiSdk): object {
  return {
    weather: ai.tool({
      description: 'Tells the weather.',
      inputSchema: z.object({ city: z.string(), days: z.number().default(1) }),
      execute: ({ city }: { city: string }) => Promise.resolve({ city, weather: 'rain' }),
    }),
  };
}

function imageFields(version: string): object {
  const bytes = Uint8Array.from([0x89, 0x50, 0x4e, 0x47]);
  return version === 'v4'
    ? { data: bytes, mediaType: 'image/png' }
    : { image: bytes, mediaType: 'image/png' };
}
