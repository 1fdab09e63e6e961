/** Wrapped and bare agents give the same results and stream parts, and what happened is on record. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { wrapModel } from '../src/adapters/ai-sdk/index.ts';
import type { Apprentice } from '../src/index.ts';
import { majors, ScriptedModel, type AiSdk, type Scripted } from './models.ts';
import { callsOf, recorded, recordingApprentice } from './recording.ts';

type Agent = (ai: AiSdk, model: object) => Promise<unknown>;

const settings = (ai: AiSdk, model: object): object => ({
  model,
  prompt: 'What is the weather in Paris?',
  maxRetries: 0,
  stopWhen: ai.stepCountIs(3),
  onError: () => undefined, // streamText would print it
  tools: {
    weather: ai.tool({
      description: 'Tells the weather.',
      inputSchema: z.object({ city: z.string(), days: z.number().default(1) }),
      execute: ({ city }: { city: string }) => Promise.resolve({ city, weather: 'rain' }),
    }),
  },
});

/** The stream's parts without what the SDK itself makes up anew each time. */
async function partsOf(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  const parts: unknown[] = [];
  for await (const part of stream) parts.push(stable(part));
  return parts;
}

const madeUp = new Set(['timestamp', 'messageId', 'id', 'callId', 'performance', 'responseTime']);

/** Plain data, errors by name and message, without ids and times that are random in bare runs, too. */
function stable(value: unknown): unknown {
  if (value instanceof Error) return { error: value.name, message: value.message };
  if (typeof value === 'function') return undefined;
  if (Array.isArray(value)) return value.map(stable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !madeUp.has(key))
      .map(([key, inner]) => [key, stable(inner)]),
  );
}

async function outcomeOf(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return { result: await work() };
  } catch (error) {
    return { thrown: stable(error) };
  }
}

const generate: Agent = async (ai, model) => {
  const { text, content, steps, finishReason, usage, toolCalls, toolResults, response, warnings } =
    await ai.generateText(settings(ai, model));
  return stable({ text, content, steps, finishReason, usage, toolCalls, toolResults, response, warnings });
};
const stream: Agent = (ai, model) => partsOf(ai.streamText(settings(ai, model)).fullStream);
const object: Agent = async (ai, model) => {
  const schema = z.object({ city: z.string() });
  const {
    object: value,
    finishReason,
    usage,
  } = await ai.generateObject({ model, schema, prompt: 'Where?', maxRetries: 0 });
  return stable({ value, finishReason, usage });
};
const abort: Agent = async (ai, model) => {
  const controller = new AbortController();
  setTimeout(() => {
    controller.abort();
  }, 30);
  return partsOf(ai.streamText({ ...settings(ai, model), abortSignal: controller.signal }).fullStream);
};
const abortPlain: Agent = async (ai, model) => {
  const controller = new AbortController();
  setTimeout(() => {
    controller.abort();
  }, 30);
  return ai.generateText({ ...settings(ai, model), abortSignal: controller.signal });
};

const text: Scripted = { kind: 'text', text: 'It is raining in Paris.' };
const toolCall: Scripted = { kind: 'tool', name: 'weather', input: '{"days": 1.0,  "city": "Paris"}' };
const cases: readonly (readonly [
  name: string,
  agent: Agent,
  answers: readonly Scripted[],
  statuses: readonly string[],
])[] = [
  ['generateText', generate, [text], ['ok']],
  ['generateText with tools', generate, [toolCall, text], ['ok', 'ok']],
  [
    'generateText with invalid tool input',
    generate,
    [{ kind: 'tool', name: 'weather', input: '{"city": ' }, text],
    ['ok', 'ok'],
  ],
  ['generateText that fails', generate, [{ kind: 'error' }], ['error']],
  ['generateText that is aborted', abortPlain, [{ kind: 'hang' }], ['aborted']],
  ['streamText', stream, [text], ['ok']],
  ['streamText with tools', stream, [toolCall, text], ['ok', 'ok']],
  ['streamText that fails', stream, [{ kind: 'error' }], ['error']],
  ['streamText that is aborted', abort, [{ kind: 'hang' }], ['aborted']],
  ['generateObject', object, [{ kind: 'text', text: '{"city":"Paris"}' }], ['ok']],
];

describe.each(majors)('$name', ({ ai, version }) => {
  let apprentice: Apprentice;
  beforeEach(async () => {
    apprentice = await recordingApprentice();
  });
  afterEach(() => apprentice.close());

  it.each(cases)(
    '%s gives the same wrapped as bare, and is recorded',
    async (_, agent, answers, statuses) => {
      const bare = await outcomeOf(() => agent(ai, new ScriptedModel(version, answers)));
      const model = wrapModel(new ScriptedModel(version, answers), apprentice);
      const wrapped = await outcomeOf(() => apprentice.run({ scenario: 's' }, () => agent(ai, model)));
      expect(wrapped).toEqual(bare);
      const [trajectory, ...more] = await recorded(apprentice);
      expect(more).toEqual([]);
      expect(callsOf(trajectory).map((call) => call.outcome.status)).toEqual(statuses);
      expect(callsOf(trajectory).every((call) => !call.trainability.trainable)).toBe(true);
    },
  );

  it('keeps the arguments of a tool call as the model wrote them', async () => {
    const model = wrapModel(new ScriptedModel(version, [toolCall, text]), apprentice);
    await apprentice.run({}, () => generate(ai, model));
    const [trajectory] = await recorded(apprentice);
    const second = callsOf(trajectory)[1];
    expect(JSON.stringify(second?.request.messages)).toContain(
      JSON.stringify('{"days": 1.0,  "city": "Paris"}'),
    );
    expect(trajectory?.events.find((event) => event.kind === 'tool-result')).toMatchObject({
      toolName: 'weather',
    });
  });

  it('keeps 100 parallel runs apart', async () => {
    const run = (index: number) => {
      const model = wrapModel(
        new ScriptedModel(version, [toolCall, { kind: 'text', text: `answer ${String(index)}` }]),
        apprentice,
      );
      return apprentice.run({ scenario: String(index) }, () =>
        index % 2 === 0 ? generate(ai, model) : stream(ai, model),
      );
    };
    await Promise.all(Array.from({ length: 100 }, (_, index) => run(index)));
    const trajectories = await recorded(apprentice);
    expect(trajectories).toHaveLength(100);
    for (const trajectory of trajectories) {
      expect(callsOf(trajectory).map((call) => call.response.message?.content)).toEqual([
        '',
        `answer ${trajectory.scenario ?? ''}`,
      ]);
    }
  });

  it('keeps a stream in the run that made it, also when it is read outside', async () => {
    const model = wrapModel(new ScriptedModel(version, [toolCall, text]), apprentice);
    const result = apprentice.run({ scenario: 'made here' }, () => ai.streamText(settings(ai, model)));
    await partsOf(result.fullStream);
    const trajectories = await recorded(apprentice);
    expect(trajectories.map((one) => [one.scenario, callsOf(one).length])).toEqual([['made here', 2]]);
  });

  it('records a stream that nobody reads to the end as what it is', async () => {
    const model = wrapModel(new ScriptedModel(version, [{ kind: 'hang' }]), apprentice);
    const result = apprentice.run({}, () => ai.streamText(settings(ai, model)));
    for await (const part of result.fullStream) {
      if ((part as { type: string }).type === 'text-delta') break;
    }
    const [trajectory] = await recorded(apprentice);
    const [call] = callsOf(trajectory);
    expect(['abandoned', 'cancelled']).toContain(call?.outcome.status);
    expect(call?.response.message?.content).toBe('so far');
  });
});
