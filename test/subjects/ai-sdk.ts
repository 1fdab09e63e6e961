/** The agent of the contract suite on the AI SDK, with the providers that speak OpenAI's dialect. */
import { createOpenAICompatible as compatible1 } from 'ai-sdk-openai-compatible1';
import { createOpenAICompatible as compatible2 } from 'ai-sdk-openai-compatible2';
import { createOpenAICompatible as compatible3 } from 'ai-sdk-openai-compatible3';
import { z } from 'zod';
import { wrapModel } from '../../src/adapters/ai-sdk/index.ts';
import type { AdapterUnderTest, AgentUnderTest } from '../../src/testing/index.ts';
import type { AiSdk, majors, Version } from '../models.ts';

const providers = { v2: compatible1, v3: compatible2, v4: compatible3 };

export function aiSdkSubject({ ai, version }: (typeof majors)[number]): AdapterUnderTest {
  return {
    connect({ baseUrl, apiKey, host, maxRetries }) {
      const model = providerModel(version, baseUrl, apiKey);
      return makeAgent(ai, host === undefined ? model : wrapModel(model, host), maxRetries);
    },
  };
}

/** A model of the provider package of this major. */
export function providerModel(version: Version, baseURL: string, apiKey: string, more: object = {}): object {
  return providers[version]({ name: 'scripted', baseURL, apiKey, ...more })('gpt');
}

interface StreamPart {
  readonly type: string;
  readonly text?: string;
  readonly error?: unknown;
}

function makeAgent(ai: AiSdk, model: object, maxRetries: number): AgentUnderTest {
  const schema = z.object({ city: z.string() });
  const given = (prompt: string, signal: AbortSignal | undefined) => ({
    model,
    prompt,
    maxRetries,
    onError: () => undefined,
    ...(signal === undefined ? {} : { abortSignal: signal }),
  });
  const read = async (options: object, onText?: (text: string) => 'leave' | undefined): Promise<string> => {
    let text = '';
    for await (const part of ai.streamText(options).fullStream as AsyncIterable<StreamPart>) {
      if (part.type === 'error') throw part.error;
      if (part.type === 'start-step') text = '';
      if (part.type !== 'text-delta') continue;
      text += part.text ?? '';
      if (onText?.(text) === 'leave') break;
    }
    return text;
  };
  return {
    async ask(prompt, { signal } = {}) {
      return String((await ai.generateText(given(prompt, signal)))['text']);
    },
    stream: (prompt, { signal, onText } = {}) => read(given(prompt, signal), onText),
    async useTools(prompt, { way, weather, signal }) {
      const tools = {
        weather: ai.tool({
          description: 'Tells the weather.',
          inputSchema: schema,
          execute: ({ city }: { city: string }) => weather(city),
        }),
      };
      const options = { ...given(prompt, signal), tools, stopWhen: ai.stepCountIs(4) };
      return way === 'stream' ? read(options) : String((await ai.generateText(options))['text']);
    },
    async extract(prompt, { signal } = {}) {
      return (await ai.generateObject({ ...given(prompt, signal), schema }))['object'] as { city: string };
    },
  };
}
