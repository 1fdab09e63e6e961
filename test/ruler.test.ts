/**
 * RULER on the groups of the demo: its agent, its tickets, its tiny model on the real sidecar. The judge stands behind an
 * OpenAI-dialect server: it knows what is right, and likes some places in the list better than others.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aiSdk } from '../examples/support-desk/frameworks/ai-sdk.ts';
import { seededRandom } from '../examples/support-desk/seeded-random.ts';
import { makeTickets, reward, type Outcome, type Ticket } from '../examples/support-desk/world.ts';
import type { Apprentice, FinishedGroup } from '../src/index.ts';
import { codeReward, openaiJudge, ruler, type Judge } from '../src/rewards/index.ts';
import {
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectRequest,
  type DialectServer,
} from '../src/testing/openai-dialect-server.ts';
import { trainingApprentice } from './sidecar.ts';

const groupSize = 4;
/** Enough votes that each of two, three or four different attempts stands in each place equally often. */
const balancedVotes = 12;
const tickets = makeTickets('train', 12, seededRandom(7));

interface Shown {
  readonly id: string;
  readonly quality: number;
}

/** The attempts that a judge is shown, in their order, with what they are worth by the rules of the shop. */
function attemptsIn({ body }: DialectRequest): Shown[] {
  const text = String(body.messages[1]?.['content']);
  const ticket = tickets.find((one) => text.includes(one.message));
  if (ticket === undefined) throw new Error(`No ticket in: ${text.slice(0, 300)}`);
  return [...text.matchAll(/Attempt with the id "(\w+)":\n(.*)/g)].map(([, id = '', attempt = '{}']) => ({
    id,
    quality: reward(ticket, outcomeOf(attempt, text)),
  }));
}

/** What the agent did, read from the transcript; calls that all attempts share stand before the first of them. */
function outcomeOf(attempt: string, whole: string): Outcome {
  const shared = /All attempts begin with these messages:\n(.*)/.exec(whole)?.[1] ?? '[]';
  const { messages } = JSON.parse(attempt) as { messages: Message[] };
  const calls = [...(JSON.parse(shared) as Message[]), ...messages].flatMap((one) => one.tool_calls ?? []);
  const given = calls.flatMap(({ name, arguments: text }) => {
    try {
      return [{ name, input: JSON.parse(text) as { order?: string; action?: string } }];
    } catch {
      return [];
    }
  });
  return {
    lookedUp: given.filter((one) => one.name === 'look_up_order').map(({ input }) => input.order ?? ''),
    resolved: given
      .filter((one) => one.name === 'resolve')
      .map(({ input }) => ({ order: input.order ?? '', action: input.action ?? '' })),
  };
}

interface Message {
  readonly tool_calls?: readonly { readonly name: string; readonly arguments: string }[];
}

/** Most of each score is for the place: the first is liked best, the last second best. */
function biased(request: DialectRequest): DialectAnswer {
  const shown = attemptsIn(request);
  const scores = shown.map(({ id, quality }, place) => {
    const liked = place === 0 ? 1 : place === shown.length - 1 ? 0.6 : 0;
    return { id, explanation: 'as I see it', score: 0.3 * quality + 0.7 * liked };
  });
  return { kind: 'text', text: JSON.stringify({ scores }) };
}

let judgeServer: DialectServer;
let apprentice: Apprentice;
const groups: FinishedGroup[] = [];
let judge: Judge;

beforeAll(async () => {
  judgeServer = await startOpenAIDialectServer(biased);
  judge = openaiJudge({ model: 'local-judge', baseUrl: judgeServer.baseUrl });
  ({ apprentice } = await trainingApprentice());
  const handleTicket = aiSdk.connect(apprentice);
  const training = apprentice.train<Ticket, Outcome>({
    scenarios: tickets,
    rollout: (ticket, { signal }) => handleTicket(ticket, { stream: false, signal }),
    rewards: [
      { reward: codeReward('handled', ({ scenario, result }) => reward(scenario, result)), weight: 0 },
      ruler({ judge, repeats: balancedVotes }),
    ],
    groupsPerStep: tickets.length,
    groupSize,
    steps: 1,
    afterEach: (group) => groups.push(group),
  });
  for await (const event of training)
    if (event.type === 'step') expect(event.groupsWithSignal).toBeGreaterThan(0);
});
afterAll(async () => {
  await apprentice.close();
  await judgeServer.close();
});

/** Pairs of a group whose order by `scores` is not the order of what they are truly worth, and all pairs that differ. */
function wrongPairs(truth: readonly number[], scores: readonly number[]): { wrong: number; of: number } {
  let [wrong, of] = [0, 0];
  for (let a = 0; a < truth.length; a += 1) {
    for (let b = a + 1; b < truth.length; b += 1) {
      const right = Math.sign((truth[a] ?? 0) - (truth[b] ?? 0));
      if (right === 0) continue;
      of += 1;
      const difference = (scores[a] ?? 0) - (scores[b] ?? 0);
      if (Math.abs(difference) < 1e-9 || Math.sign(difference) !== right) wrong += 1;
    }
  }
  return { wrong, of };
}

function sum(pairs: readonly { wrong: number; of: number }[]): { wrong: number; of: number } {
  return {
    wrong: pairs.reduce((total, one) => total + one.wrong, 0),
    of: pairs.reduce((total, one) => total + one.of, 0),
  };
}

function components(group: FinishedGroup, name: string): number[] {
  return group.rollouts.map((one) => {
    const found = one.score.components.find((component) => component.name === name);
    if (found === undefined) throw new Error(`There is no ${name} on ${one.trajectory.id}.`);
    return found.value;
  });
}

describe('RULER with a judge that is biased by position', () => {
  it('ranks the real trajectories of the demo rightly where plain scores do not', async () => {
    expect(groups).toHaveLength(tickets.length);
    const plainRuler = ruler({ judge, order: 'given', repeats: 1 });
    const plain = [];
    const balanced = [];
    for (const group of groups) {
      const truth = components(group, 'handled');
      balanced.push(wrongPairs(truth, components(group, 'ruler')));
      const trajectories = group.rollouts.map((one) => one.trajectory);
      const scores = await plainRuler.scoreGroup({
        scenario: { id: group.scenarioId },
        trajectories,
        signal: new AbortController().signal,
      });
      plain.push(
        wrongPairs(
          truth,
          scores.map((one) => one?.value ?? Number.NaN),
        ),
      );
    }
    const [byPlain, byBalanced] = [sum(plain), sum(balanced)];
    process.stdout.write(
      `pairs ranked wrongly: plain ${JSON.stringify(byPlain)}, balanced ${JSON.stringify(byBalanced)}\n`,
    );
    expect(byBalanced.of).toBeGreaterThanOrEqual(10);
    expect(byBalanced.wrong).toBe(0);
    expect(byPlain.wrong).toBeGreaterThan(0);
  });

  it('was trained on, each total as the judge gave it', async () => {
    const store = await apprentice.store();
    const [group] = groups;
    const rollout = group?.rollouts[0];
    const rewards = (await store.get(rollout?.trajectory.id ?? ''))?.rewards ?? [];
    const value = (name: string) => rewards.find((one) => one.name === name)?.value;
    expect(value('ruler')).toBeCloseTo(value('total') ?? Number.NaN, 12);
    const kept = rewards.find((one) => one.name === 'ruler');
    expect(kept).toMatchObject({
      source: { type: 'judge', model: 'local-judge' },
      details: { refusedVotes: 0 },
    });
  });
});
