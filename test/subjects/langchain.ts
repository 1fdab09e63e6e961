/** The agent of the contract suite on LangChain: ChatOpenAI, createAgent. */
import { z } from 'zod';
import { wrapModel } from '../../src/adapters/langchain/index.ts';
import type { AdapterUnderTest, AgentUnderTest } from '../../src/testing/index.ts';
import type { LangChainSet } from '../langchain-sets.ts';

export function langchainSubject(set: LangChainSet): AdapterUnderTest {
  return {
    connect({ baseUrl, apiKey, host, maxRetries }) {
      // LangChain's models try again inside a call; what tries a call again is withRetry.
      const model = new set.openai.ChatOpenAI({
        model: 'gpt',
        apiKey,
        maxRetries: 0,
        configuration: { baseURL: baseUrl },
      });
      return makeAgent(set, host === undefined ? model : wrapModel(model, host), maxRetries);
    },
  };
}

type Model = InstanceType<LangChainSet['openai']['ChatOpenAI']>;

function makeAgent(set: LangChainSet, model: Model, maxRetries: number): AgentUnderTest {
  const schema = z.object({ city: z.string() });
  const asked = maxRetries === 0 ? model : model.withRetry({ stopAfterAttempt: maxRetries + 1 });
  /** LangChain does not retry streams, so the agent does. */
  const openStream = async (prompt: string, options: object, attempt = 0): ReturnType<Model['stream']> => {
    try {
      return await model.stream(prompt, options);
    } catch (error) {
      if (attempt === maxRetries) throw error;
      return openStream(prompt, options, attempt + 1);
    }
  };
  return {
    async ask(prompt, settings = {}) {
      return (await asked.invoke(prompt, settings)).text;
    },
    async stream(prompt, { onText, signal } = {}) {
      let text = '';
      const stream = await openStream(prompt, signal === undefined ? {} : { signal });
      for (;;) {
        const next: IteratorResult<{ readonly text: string }> = await stream.next();
        if (next.done === true) return text;
        text += next.value.text;
        if (next.value.text === '' || onText?.(text) !== 'leave') continue;
        // LangChain's streams leave when their next chunk is there: nobody waits for it here.
        stream.return().catch(() => undefined);
        return text;
      }
    },
    async useTools(prompt, { way, weather, signal }) {
      const tool = set.tools.tool(({ city }: { city: string }) => weather(city), {
        name: 'weather',
        description: 'Tells the weather.',
        schema,
      });
      const agent = set.langchain.createAgent({ model, tools: [tool] });
      const input = { messages: [{ role: 'user', content: prompt }] };
      const options = signal === undefined ? {} : { signal };
      if (way === 'plain') return (await agent.invoke(input, options)).messages.at(-1)?.text ?? '';
      let text = '';
      for await (const [chunk] of await agent.stream(input, { ...options, streamMode: 'messages' })) {
        if (chunk.type !== 'ai') text = '';
        else text += chunk.text;
      }
      return text;
    },
    extract: (prompt, settings = {}) => model.withStructuredOutput(schema).invoke(prompt, settings),
  };
}
