/** openai 4 to 7 on the real sidecar: every policy call has as many ids as logprobs and as the server counted. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wrapOpenAI } from '../src/adapters/openai/index.ts';
import type { PolicyRoute } from '../src/capture/route.ts';
import type { Apprentice } from '../src/index.ts';
import { memoryHost } from '../src/testing/index.ts';
import { trainingApprentice } from './sidecar.ts';
import { cityFormat, helpersOf, openaiMajors, type Client, type Major } from './subjects/openai-majors.ts';

let apprentice: Apprentice;
let route: PolicyRoute;
beforeAll(async () => {
  ({ apprentice } = await trainingApprentice());
  const backend = await apprentice.backend();
  route = {
    kind: 'policy',
    policy: 'base',
    step: 0,
    propensity: 1,
    onFailure: 'throw',
    endpoint: (signal) => backend.endpoint('base', signal),
  };
});
afterAll(() => apprentice.close());

/** An untrained model would go on within a free text until its tokens are spent. */
const cities = ['Paris', 'Rome'];
const body = {
  model: 'gpt-5-mini',
  max_tokens: 24,
  seed: 7,
  messages: [
    { role: 'developer', content: [{ type: 'text', text: 'Be brief.' }] },
    { role: 'user', content: 'respond with yes, no or maybe' },
  ],
};
const tool = {
  type: 'function',
  function: {
    name: 'look_up_order',
    description: 'Use it.',
    parameters: { type: 'object', properties: { order: { type: 'string' } }, required: ['order'] },
    parse: JSON.parse,
    function: () => ({ error: 'unknown order' }),
  },
};

const ways: readonly (readonly [name: string, way: (client: Client, major: Major) => Promise<unknown>])[] = [
  ['create', async (client) => client.chat.completions.create(body)],
  [
    'create, streamed',
    async (client) => {
      for await (const _ of await client.chat.completions.create({ ...body, stream: true } as const));
    },
  ],
  ['stream', (client) => helpersOf(client).stream(body).finalContent()],
  [
    'parse',
    async (client, major) =>
      helpersOf(client).parse({ ...body, max_tokens: 200, response_format: cityFormat(major, cities) }),
  ],
  [
    'a tool that must be called',
    async (client) => client.chat.completions.create({ ...body, tools: [tool], tool_choice: 'required' }),
  ],
  [
    'runTools',
    (client) =>
      helpersOf(client)
        .runTools({ ...body, tools: [tool] }, { maxChatCompletions: 3 })
        .finalContent(),
  ],
];

describe.each(openaiMajors)('$name', (major) => {
  it.each(ways)('%s', async (_, way) => {
    const host = memoryHost({ choose: () => route });
    const options = { baseURL: 'http://127.0.0.1:9/v1', apiKey: 'key', maxRetries: 0 };
    await host.recorder.run({}, () => way(wrapOpenAI(new major.OpenAI(options), host), major));
    const calls = host.calls();
    expect(calls.length).toBeGreaterThan(0);
    for (const { tokens, response, trainability } of calls) {
      const count = tokens?.completionIds.length ?? 0;
      expect(count).toBeGreaterThan(0);
      expect(tokens?.logprobs).toHaveLength(count);
      expect(tokens?.logprobs.every((one) => one !== null && one <= 0)).toBe(true);
      expect(response.usage).toEqual({ inputTokens: tokens?.promptIds.length, outputTokens: count });
      expect(trainability).toEqual({ trainable: true });
    }
    expect(host.faults()).toEqual({});
  });
});
