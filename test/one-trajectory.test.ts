/** What comes together in one trajectory: several wrapped models, sub-agents, side calls, prices. */
import { generateText } from 'ai7';
import { afterEach, describe, expect, it } from 'vitest';
import { wrapModel } from '../src/adapters/ai-sdk/index.ts';
import { createApprentice, type Apprentice, type SideCallRule } from '../src/index.ts';
import { codeReward, historiesOf } from '../src/rewards/index.ts';
import { startOpenAIDialectServer, type DialectServer } from '../src/testing/openai-dialect-server.ts';
import { httpModel } from './fixtures/http-model.ts';
import { callsOf, freshFolder, recorded } from './recording.ts';

let server: DialectServer | undefined;
let apprentice: Apprentice | undefined;
afterEach(async () => {
  await apprentice?.close();
  await server?.close();
});

async function setUp(sideCall?: SideCallRule) {
  const at = await startOpenAIDialectServer(() => ({ kind: 'text', text: 'an answer of five words' }));
  const made = createApprentice({
    project: 'test',
    name: 'agent',
    folder: await freshFolder(),
    prices: { scripted: { input: 0, output: 1e6 } },
    ...(sideCall === undefined ? {} : { sideCall }),
  });
  server = at;
  apprentice = made;
  const wrapped = () => wrapModel(httpModel(at.baseUrl) as object, made) as ReturnType<typeof httpModel>;
  return { apprentice: made, planner: wrapped(), writer: wrapped() };
}

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('There is none.');
  return value;
}

describe('one trajectory', () => {
  it('holds the calls of several wrapped models, each conversation apart, each call with its cost', async () => {
    const { apprentice: made, planner, writer } = await setUp();
    await made.run({ scenario: 's' }, async () => {
      await generateText({ model: planner, prompt: 'plan' });
      await generateText({ model: writer, prompt: 'write' });
    });
    const [trajectory, ...more] = await recorded(made);
    expect(more).toEqual([]);
    expect(callsOf(trajectory).map((call) => call.cost)).toEqual([
      { usd: 5, source: 'user' },
      { usd: 5, source: 'user' },
    ]);
    expect(historiesOf(given(trajectory)).map((one) => one.messages[0]?.content)).toEqual(['plan', 'write']);
  });

  it('marks side calls by the rule that the user gave, and by their scope', async () => {
    const title: SideCallRule = ({ request }) => JSON.stringify(request.messages).includes('title');
    const { apprentice: made, planner } = await setUp(title);
    await made.run({}, async () => {
      await generateText({ model: planner, prompt: 'do the task' });
      await generateText({ model: planner, prompt: 'a title for it' });
      await made.sideCalls(() => generateText({ model: planner, prompt: 'a summary' }));
    });
    const [trajectory] = await recorded(made);
    const reasons = callsOf(trajectory).map(
      ({ trainability }) => !trainability.trainable && trainability.reason,
    );
    expect(reasons).toEqual(['incumbent', 'side-call', 'side-call']);
    expect(historiesOf(given(trajectory))).toHaveLength(1);
  });

  it('counts a fault of that rule, and records the call all the same', async () => {
    const { apprentice: made, planner } = await setUp(() => {
      throw new Error('no');
    });
    await made.run({}, () => generateText({ model: planner, prompt: 'x' }));
    expect(callsOf((await recorded(made))[0])).toHaveLength(1);
    expect((await made.status()).capture.faults).toEqual({ 'the rule for side calls': 1 });
  });

  it('has its sub-agents as children, which end with their rollout', async () => {
    const { apprentice: made, planner } = await setUp();
    const { rollouts } = await made.rollout({
      scenarios: [{ id: 's' }],
      rollout: async () => {
        await generateText({ model: planner, prompt: 'outer' });
        await made.run({}, () => generateText({ model: planner, prompt: 'inner' }));
      },
      rewards: [codeReward('one', () => 1)],
    });
    const parentId = rollouts[0]?.trajectory.id ?? '';
    // Written together with their parent: nobody waits for the grace period of the inner run.
    const store = await made.store();
    const children = await store.find({ parentId });
    expect(children.map(({ trajectory }) => callsOf(trajectory).length)).toEqual([1]);
  });
});
