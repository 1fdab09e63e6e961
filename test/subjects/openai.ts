/** The agent of the contract suite on the openai package. */
import { wrapOpenAI } from '../../src/adapters/openai/index.ts';
import type { AdapterUnderTest, AgentUnderTest } from '../../src/testing/index.ts';
import { cityFormat, helpersOf, type Client, type Major } from './openai-majors.ts';

export function openaiSubject(major: Major): AdapterUnderTest {
  return {
    connect({ baseUrl, apiKey, host, maxRetries }) {
      const client = new major.OpenAI({ baseURL: baseUrl, apiKey, maxRetries });
      return makeAgent(major, host === undefined ? client : wrapOpenAI(client, host));
    },
  };
}

function makeAgent(major: Major, client: Client): AgentUnderTest {
  const body = (prompt: string) => ({ model: 'gpt', messages: [{ role: 'user', content: prompt }] });
  return {
    async ask(prompt, settings = {}) {
      const answer = await client.chat.completions.create(body(prompt), settings);
      return answer.choices[0]?.message.content ?? '';
    },
    async stream(prompt, { onText, signal } = {}) {
      let text = '';
      const options = signal === undefined ? {} : { signal };
      for await (const { choices } of await client.chat.completions.create(
        { ...body(prompt), stream: true } as const,
        options,
      )) {
        const delta = choices[0]?.delta.content ?? '';
        text += delta;
        if (delta !== '' && onText?.(text) === 'leave') break;
      }
      return text;
    },
    async useTools(prompt, { way, weather, signal }) {
      const tool = {
        type: 'function',
        function: {
          name: 'weather',
          description: 'Tells the weather.',
          parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
          parse: JSON.parse,
          function: ({ city }: { city: string }) => weather(city),
        },
      };
      const asked = { ...body(prompt), tools: [tool], ...(way === 'stream' ? { stream: true } : {}) };
      const runner = helpersOf(client).runTools(asked, signal === undefined ? {} : { signal });
      return (await runner.finalContent()) ?? '';
    },
    async extract(prompt, settings = {}) {
      const asked = { ...body(prompt), response_format: cityFormat(major) };
      const answer = await helpersOf(client).parse(asked, settings);
      return answer.choices[0]?.message.parsed as { city: string };
    },
  };
}
