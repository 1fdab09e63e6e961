import { describe, expect, it } from 'vitest';
import { JudgeError } from '../../errors.ts';
import { anAnswer } from '../../testing/reward-input.ts';
import type { Judge, JudgeRequest } from '../judges/judge.ts';
import { ruler, type RulerOptions } from './ruler.ts';

const answers = ['bad', 'good', 'middling'];
const worth: Readonly<Record<string, number>> = { bad: 0.1, middling: 0.5, good: 0.9 };
const trajectories = answers.map((content) => anAnswer({ role: 'assistant', content }));
const input = { scenario: { id: 's' }, trajectories, signal: new AbortController().signal };

interface Entry {
  id: string;
  explanation: string;
  score: number;
}

/** What an honest judge says of the attempts that it is shown, in the order in which it is shown them. */
function honest(request: JudgeRequest): Entry[] {
  const text = request.messages[1]?.content ?? '';
  return [...text.matchAll(/Attempt with the id "(\w+)":\n(.*)/g)].map(([, id = '', attempt = '']) => {
    const word = answers.find((one) => attempt.includes(`"${one}"`)) ?? '';
    return { id, explanation: word, score: worth[word] ?? 0 };
  });
}

/** A judge that writes `first` for its first answer to each question and `then` once it was told what is wrong. */
function judgeWriting(
  first: (entries: Entry[]) => string,
  then: (entries: Entry[]) => string = first,
): Judge & { readonly requests: JudgeRequest[] } {
  const requests: JudgeRequest[] = [];
  return {
    model: 'scripted',
    requests,
    ask(request) {
      requests.push(request);
      const write = request.messages.length > 2 ? then : first;
      const text = write(honest(request));
      return Promise.resolve({ text, truncated: false, usage: { inputTokens: 10, outputTokens: 5 } });
    },
  };
}

const whole = (scores: unknown) => JSON.stringify({ scores });
const judged = async (judge: Judge, options: Partial<RulerOptions> = {}) =>
  (await ruler({ judge, ...options }).scoreGroup(input)).map((one) => one?.value);

describe('ruler', () => {
  it('gives each attempt its own score, in whatever order the judge writes', async () => {
    const judge = judgeWriting((entries) => whole(entries.toReversed()));
    expect(await judged(judge)).toEqual([0.1, 0.9, 0.5]);
    const shown = judge.requests.map((request) => honest(request).map((one) => one.explanation));
    expect(shown[1]).toEqual(shown[0]?.toReversed());
  });

  it.each<[string, (entries: Entry[]) => string]>([
    ['prose and a code fence around it', (e) => `Scores {as asked}:\n\`\`\`json\n${whole(e)}\n\`\`\`\nDone.`],
    ['thoughts with another object before it', (e) => `<think>{"scores": []}</think>${whole(e)}`],
  ])('reads an answer with %s without asking again', async (_, write) => {
    const judge = judgeWriting(write);
    expect(await judged(judge, { repeats: 1 })).toEqual([0.1, 0.9, 0.5]);
    expect(judge.requests).toHaveLength(1);
  });

  const malformed: [string, RegExp, (entries: Entry[]) => string][] = [
    ['JSON that breaks off', /no valid JSON/, (e) => whole(e).slice(0, -8)],
    ['a missing score', /scores are missing for/, (e) => whole(e.slice(1))],
    ['an attempt scored twice', /is scored twice/, (e) => whole([...e, ...e.slice(0, 1)])],
    [
      'an attempt that there is not',
      /there is no attempt "4"/,
      (e) => whole([...e.slice(1), { id: '4', score: 1 }]),
    ],
    [
      'a score out of range',
      /is 9, not a number between 0 and 1/,
      (e) => whole(e.map((one) => ({ ...one, score: 9 }))),
    ],
    ['a score in words', /is "high"/, (e) => whole(e.map((one) => ({ ...one, score: 'high' })))],
    ['scores by place instead of id', /no id or no score/, (e) => whole(e.map((one) => one.score))],
    ['no JSON at all', /no valid JSON/, () => 'I would rather not.'],
  ];

  it.each(malformed)('sends %s back once, and takes the mended answer', async (_, fault, write) => {
    const judge = judgeWriting(write, whole);
    expect(await judged(judge, { repeats: 1 })).toEqual([0.1, 0.9, 0.5]);
    expect(judge.requests[1]?.messages.at(-1)?.content).toMatch(fault);
  });

  it.each(malformed)('refuses %s twice over, and scores nothing by guess', async (_, fault, write) => {
    const judge = judgeWriting(write);
    await expect(judged(judge, { repeats: 1 })).rejects.toThrow(JudgeError);
    await expect(judged(judge, { repeats: 1 })).rejects.toThrow(fault);
  });

  it('goes on with the votes that can be used, and says how many could not', async () => {
    const silent = judgeWriting(() => 'no');
    const scores = await ruler({ judge: [silent, judgeWriting(whole)] }).scoreGroup(input);
    expect(scores.map((one) => one?.value)).toEqual([0.1, 0.9, 0.5]);
    expect(scores[0]?.details).toMatchObject({ votes: 2, refusedVotes: 2, agreement: 1 });
  });

  it('averages judges that disagree, and leaves the group out below the agreement that is asked for', async () => {
    const contrary = judgeWriting((e) => whole(e.map((one) => ({ ...one, score: 1 - one.score }))));
    const judges = [judgeWriting(whole), contrary];
    const [first] = await ruler({ judge: judges, repeats: 1 }).scoreGroup(input);
    expect(first).toMatchObject({ value: 0.5, details: { agreement: -1 } });
    const strict = ruler({ judge: judges, repeats: 1, minAgreement: 0.2 });
    expect(await strict.scoreGroup(input)).toEqual([undefined, undefined, undefined]);
  });

  it('judges equal attempts once and gives them the same score', async () => {
    const judge = judgeWriting(whole);
    const twice = { ...input, trajectories: [...trajectories, ...trajectories.slice(1, 2)] };
    const scores = await ruler({ judge, repeats: 1 }).scoreGroup(twice);
    expect(scores.map((one) => one?.value)).toEqual([0.1, 0.9, 0.5, 0.9]);
    expect(honest(judge.requests[0] as JudgeRequest)).toHaveLength(3);
  });

  it('asks the same thing once, and another seed anew', async () => {
    const judge = judgeWriting(whole);
    const reward = ruler({ judge });
    await reward.scoreGroup(input);
    await reward.scoreGroup(input);
    expect(judge.requests).toHaveLength(2);
    expect(reward.spent).toMatchObject({ requests: 2, cached: 2, tokens: 30 });
  });

  it('stops at its budget, and where a budget in dollars cannot be kept', async () => {
    const judge = judgeWriting(whole);
    const reward = ruler({ judge, repeats: 1, maxTokens: 15, cache: null });
    await reward.scoreGroup(input);
    await expect(reward.scoreGroup(input)).rejects.toMatchObject({ code: 'judge_budget_exceeded' });
    const unpriced = ruler({ judge, maxUsd: 1 });
    await expect(unpriced.scoreGroup(input)).rejects.toThrow(/price of the judge scripted is not known/);
    const price = { input: 100_000, output: 0 };
    const priced = ruler({ judge, repeats: 1, maxUsd: 1, prices: { scripted: price }, cache: null });
    expect((await priced.scoreGroup(input))[0]?.details).toMatchObject({ usd: 1 / 3 });
    await expect(priced.scoreGroup(input)).rejects.toMatchObject({ code: 'judge_budget_exceeded' });
  });

  it('says what is wrong with its options', () => {
    const judge = judgeWriting(whole);
    expect(() => ruler({ judge: [] })).toThrow(/at least one judge/);
    expect(() => ruler({ judge, repeats: 0 })).toThrow(/"repeats"/);
    expect(() => ruler({ judge, minAgreement: 2 })).toThrow(/"minAgreement"/);
    expect(() => ruler({ judge, maxUsd: 0 })).toThrow(/"maxUsd"/);
  });
});
