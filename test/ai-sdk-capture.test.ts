/** What is recorded of agents on their own models, and what is left alone. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { installDefaultProvider, wrapModel, wrapProvider } from '../src/adapters/ai-sdk/index.ts';
import type { Trajectory } from '../src/index.ts';
import { memoryHost, type MemoryHost } from '../src/testing/memory-host.ts';
import { majors, ScriptedModel, type Scripted } from './models.ts';

const text: Scripted = { kind: 'text', text: 'It is raining in Paris.' };
const rawArguments = '{"days": 1.0,  "city": "Paris"}';
const toolCall: Scripted = { kind: 'tool', name: 'weather', input: rawArguments };

let host: MemoryHost;
beforeEach(() => {
  host = memoryHost();
});

const kinds = (trajectory: Trajectory | undefined) => trajectory?.events.map((event) => event.kind);

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

describe.each(majors)('$name', ({ ai, version }) => {
  const scripted = (...answers: Scripted[]) => new ScriptedModel(version, answers);
  const settings = (model: unknown, more: object = {}): object => ({
    model,
    prompt: 'What is the weather in Paris?',
    maxRetries: 0,
    temperature: 0.2,
    stopWhen: ai.stepCountIs(4),
    onError: () => undefined,
    tools: {
      weather: ai.tool({
        inputSchema: z.object({ city: z.string(), days: z.number().default(1) }),
        execute: ({ city }: { city: string }) => Promise.resolve({ city, weather: 'rain' }),
      }),
    },
    ...more,
  });

  it.each(['generateText', 'streamText'] as const)('%s: the whole of each call is on record', async (way) => {
    const model = wrapModel(scripted(toolCall, { kind: 'rich', text: 'It is raining.' }), host);
    await host.recorder.run({ scenario: 'ticket-1' }, async () => {
      if (way === 'generateText') await ai.generateText(settings(model));
      else await drain(ai.streamText(settings(model)).fullStream);
    });
    const [trajectory] = host.finished();
    expect(kinds(trajectory)).toEqual(['model-call', 'tool-result', 'model-call']);
    expect(trajectory?.events[0]).toMatchObject({
      adapter: 'ai-sdk',
      specification: version,
      served: {
        requestedModel: 'scripted-1',
        respondedModel: 'scripted-1',
        provider: 'scripted',
        policy: null,
      },
      request: { parameters: { temperature: 0.2, tool_choice: 'auto' }, tools: [{ type: 'function' }] },
      response: { id: 'response-1', finishReason: 'tool-calls', usage: { inputTokens: 3, outputTokens: 2 } },
      trainability: { trainable: false, reason: 'incumbent' },
      outcome: { status: 'ok' },
      streamed: way === 'streamText',
    });
    expect(trajectory?.events[1]).toMatchObject({ input: rawArguments, output: { weather: 'rain' } });
    expect(trajectory?.events[2]).toMatchObject({
      request: {
        messages: [
          { role: 'user', content: 'What is the weather in Paris?' },
          { role: 'assistant', tool_calls: [{ function: { arguments: rawArguments } }] },
          { role: 'tool', content: JSON.stringify({ city: 'Paris', weather: 'rain' }) },
        ],
      },
      response: { message: { content: 'It is raining.', reasoning: 'Let me see.' } },
    });
  });

  it('each tool result is recorded once, and none of an earlier conversation', async () => {
    const calls = ['Paris', 'Rome', 'Oslo'].map((city): Scripted => ({
      kind: 'tool',
      name: 'weather',
      input: `{"city":"${city}"}`,
      id: city,
    }));
    const old = (role: 'assistant' | 'tool') => ({
      role,
      content: [
        role === 'assistant'
          ? { type: 'tool-call', toolCallId: 'old', toolName: 'weather', input: {} }
          : {
              type: 'tool-result',
              toolCallId: 'old',
              toolName: 'weather',
              output: { type: 'text', value: '?' },
            },
      ],
    });
    const messages = [
      { role: 'user', content: 'Hello' },
      old('assistant'),
      old('tool'),
      { role: 'assistant', content: 'Yes?' },
      { role: 'user', content: 'Weather?' },
    ];
    const model = wrapModel(scripted(...calls, text), host);
    await host.recorder.run({}, () => ai.generateText(settings(model, { prompt: undefined, messages })));
    const results = host.finished()[0]?.events.filter((event) => event.kind === 'tool-result');
    expect(results?.map((result) => result.toolCallId)).toEqual(['Paris', 'Rome', 'Oslo']);
  });

  it('keeps 100 parallel runs apart', async () => {
    const run = (index: number) => {
      const model = wrapModel(scripted(toolCall, { kind: 'text', text: `answer ${String(index)}` }), host);
      return host.recorder.run({ scenario: `answer ${String(index)}` }, async () => {
        if (index % 2 === 0) await ai.generateText(settings(model));
        else await drain(ai.streamText(settings(model)).fullStream);
      });
    };
    await Promise.all(Array.from({ length: 100 }, (_, index) => run(index)));
    expect(host.finished()).toHaveLength(100);
    for (const trajectory of host.finished()) {
      expect(kinds(trajectory)).toEqual(['model-call', 'tool-result', 'model-call']);
      expect(trajectory.events[2]).toMatchObject({ response: { message: { content: trajectory.scenario } } });
    }
  });

  it('keeps a stream in the run that made it, also when another run reads it', async () => {
    const model = wrapModel(scripted(toolCall, text), host);
    const result = host.recorder.run({ scenario: 'maker' }, () => ai.streamText(settings(model)));
    await host.recorder.run({ scenario: 'reader' }, () => drain(result.fullStream));
    const counts = host.finished().map(({ scenario, events }) => [scenario, events.length]);
    expect(Object.fromEntries(counts)).toEqual({ maker: 3, reader: 0 });
  });

  it('keeps what came of a stream that its reader leaves', async () => {
    const model = wrapModel(scripted({ kind: 'hang' }), host);
    await host.recorder.run({}, async () => {
      for await (const part of ai.streamText(settings(model)).fullStream)
        if ((part as { type: string }).type === 'text-delta') break;
    });
    expect(host.calls()).toMatchObject([
      { outcome: { status: 'abandoned' }, response: { message: { content: 'so far' } } },
    ]);
  });

  it('links what the SDK tries again', async () => {
    const model = wrapModel(scripted({ kind: 'overloaded' }, { kind: 'overloaded' }, text), host);
    await host.recorder.run({}, () => ai.generateText(settings(model, { maxRetries: 2 })));
    const [first, second, third] = host.calls();
    expect([first, second, third].map((call) => call?.outcome.status)).toEqual(['error', 'error', 'ok']);
    expect([second?.retryOf, third?.retryOf]).toEqual([first?.id, second?.id]);
  });

  it('records a call outside any run as a run of its own, after the caller has its answer', async () => {
    await ai.generateText(settings(wrapModel(scripted(text), host)));
    await expect.poll(() => host.finished().length).toBe(1);
    expect(host.calls()).toHaveLength(1);
  });

  it('records once what is wrapped twice, with middleware between', async () => {
    const middleware = {
      specificationVersion: version,
      wrapGenerate: ({ doGenerate }: { doGenerate: () => unknown }) => doGenerate(),
    };
    const inner = wrapModel(scripted(text), host);
    const model = wrapModel(ai.wrapLanguageModel({ model: inner, middleware }), host);
    await host.recorder.run({}, () => ai.generateText(settings(model)));
    expect(host.calls()).toHaveLength(1);
  });

  it('records models that are named by strings', async () => {
    const name = 'scripted/one';
    expect(() => wrapModel(name, host)).toThrow(/installDefaultProvider/);
    const uninstall = installDefaultProvider({ languageModel: () => scripted(text, text) }, host);
    try {
      await host.recorder.run({}, async () => {
        await ai.generateText(settings(name));
        await ai.generateText(settings(wrapModel(name, host)));
      });
    } finally {
      uninstall();
    }
    expect(globalThis).not.toHaveProperty('AI_SDK_DEFAULT_PROVIDER');
    expect(host.calls()).toHaveLength(2);
  });

  it('wraps the language models of a provider, called or by its methods, and nothing else', async () => {
    const image = { specificationVersion: version, modelId: 'image', doGenerate: () => undefined };
    const parts = {
      chat: () => scripted(text),
      image: () => image,
      tools: { search: () => ({ id: 'search' }) },
    };
    const provider = wrapProvider(
      Object.assign(() => scripted(text), parts),
      host,
    );
    await host.recorder.run({}, async () => {
      await ai.generateText(settings(provider()));
      await ai.generateText(settings(provider.chat()));
    });
    expect(provider.image()).toBe(image);
    expect(provider.tools).toBe(parts.tools);
    expect(host.calls()).toHaveLength(2);
  });

  it('answers as ever where recording fails', async () => {
    const model = wrapModel(scripted(text, text), host);
    const broken = new Error('the recorder is broken');
    const { recorder } = host;
    for (const name of ['startLoneRun', 'current'] as const) {
      Object.defineProperty(recorder, name, {
        configurable: true,
        value: () => {
          throw broken;
        },
      });
    }
    expect(await ai.generateText(settings(model))).toMatchObject({ text: text.text });
    expect(recorder.faults.counts()).toMatchObject({ 'opening a run': 1 });
  });

  it('gives back the results of the model, and their streams, themselves', async () => {
    const bare = scripted(text, text);
    const made: unknown[] = [];
    const model = wrapModel(
      {
        specificationVersion: version,
        provider: 'kept',
        modelId: 'kept-1',
        supportedUrls: {},
        doGenerate: async (options: object) => kept(await bare.doGenerate(options)),
        doStream: async (options: object) => kept(await bare.doStream(options)),
      },
      host,
    );
    function kept<T extends object>(result: T): T {
      made.push(result, 'stream' in result ? result.stream : undefined);
      return result;
    }
    const generated = await model.doGenerate({ prompt: [] });
    const streamed = await model.doStream({ prompt: [] });
    expect(
      [generated, streamed, (streamed as { stream: unknown }).stream].map((one) => made.indexOf(one)),
    ).toEqual([0, 2, 3]);
  });

  it('records the name that a model had when it was asked', async () => {
    const bare = scripted(text, text);
    const router = {
      specificationVersion: version,
      provider: 'router',
      modelId: 'first',
      supportedUrls: {},
      doGenerate: async (options: object) => {
        const result = await bare.doGenerate(options);
        router.modelId = 'second';
        return result;
      },
      doStream: bare.doStream.bind(bare),
    };
    const model = wrapModel(router, host);
    await host.recorder.run({}, async () => {
      await ai.generateText(settings(model));
      await drain(ai.streamText(settings(model)).fullStream);
      router.modelId = 'third';
    });
    expect(host.calls().map((call) => call.served.requestedModel)).toEqual(['first', 'second']);
  });

  it('wraps frozen models', async () => {
    const bare = scripted(text);
    const frozen = Object.freeze({
      specificationVersion: version,
      provider: 'frozen',
      modelId: 'frozen-1',
      supportedUrls: {},
      doGenerate: bare.doGenerate.bind(bare),
      doStream: bare.doStream.bind(bare),
    });
    await host.recorder.run({}, () => ai.generateText(settings(wrapModel(frozen, host))));
    expect(host.calls()).toMatchObject([{ served: { requestedModel: 'frozen-1' } }]);
  });
});

describe('wrapModel', () => {
  const warnings: string[] = [];
  const note = (warning: Error) => void warnings.push(warning.message);
  beforeEach(() => {
    process.on('warning', note);
  });
  afterEach(() => {
    process.off('warning', note);
  });

  it('lets unknown specifications and other things pass, with one warning each', async () => {
    const unknown = { specificationVersion: 'v9', supportedUrls: {}, doGenerate: () => 1, doStream: () => 2 };
    expect(wrapModel(unknown, host)).toBe(unknown);
    expect(wrapModel(unknown, host)).toBe(unknown);
    const embedding = { doEmbed: () => 1 };
    expect(wrapModel(embedding, host)).toBe(embedding);
    await expect.poll(() => warnings.filter((one) => /v9|no language model/.test(one))).toHaveLength(2);
  });
});
