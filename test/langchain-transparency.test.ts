/** Models of LangChain, plain and wrapped: the same results on each entry point of each set, and each call on record. */
import { afterEach, describe, expect, it } from 'vitest';
import { wrapModel } from '../src/adapters/langchain/index.ts';
import { startOpenAIDialectServer, type DialectServer } from '../src/testing/openai-dialect-server.ts';
import { comparable, entryPoints, weatherModel, type Model } from './langchain-entry-points.ts';
import { sets, type LangChainSet } from './langchain-sets.ts';
import { memoryHost } from '../src/testing/memory-host.ts';

const servers: DialectServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function startServer(): Promise<DialectServer> {
  const server = await startOpenAIDialectServer(weatherModel);
  servers.push(server);
  return server;
}

function chatModel({ openai }: LangChainSet, { baseUrl }: DialectServer): Model {
  return new openai.ChatOpenAI({ model: 'incumbent-1', apiKey: 'k', configuration: { baseURL: baseUrl } });
}

describe.each(sets)('$name, recorded', (set) => {
  it.each(entryPoints)('$name gives what it gives without us', async ({ run }) => {
    const [one, other] = [await startServer(), await startServer()];
    const plain = comparable(await run(set, chatModel(set, one)));
    const host = memoryHost();
    const wrapped = comparable(await run(set, wrapModel(chatModel(set, other), host)));
    expect(wrapped).toEqual(plain);
    const bodies = ({ requests }: DialectServer) => comparable(requests.map((request) => request.body));
    expect(bodies(other)).toEqual(bodies(one));
    const events = host.finished().flatMap((trajectory) => trajectory.events);
    const recorded = events.filter((event) => event.kind === 'model-call');
    expect(recorded).toHaveLength(one.requests.length);
    for (const call of recorded) {
      expect(call).toMatchObject({
        adapter: 'langchain',
        outcome: { status: 'ok' },
        served: { requestedModel: 'incumbent-1', policy: null },
        response: { usage: { outputTokens: expect.any(Number) as number } },
      });
      expect(call.request.messages.length).toBeGreaterThan(0);
      expect(call.response.message).toMatchObject({ role: 'assistant' });
    }
  });
});
