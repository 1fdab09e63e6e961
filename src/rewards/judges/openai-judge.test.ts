import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectServer,
} from '../../testing/openai-dialect-server.ts';
import { aRewardInput, anAnswer } from '../../testing/reward-input.ts';
import { openaiJudge } from './openai-judge.ts';
import { pairwiseJudge } from './pairwise.ts';
import { rubricJudge } from './rubric.ts';

let server: DialectServer | undefined;
afterEach(async () => {
  await server?.close();
});

async function judgeOn(answers: readonly DialectAnswer[], options = {}) {
  server = await startOpenAIDialectServer((_, index) => answers[index] ?? { kind: 'status', status: 400 });
  const { baseUrl } = server;
  return { judge: openaiJudge({ model: 'm', baseUrl, apiKey: 'key', ...options }), server };
}

const text = (value: unknown): DialectAnswer => ({
  kind: 'text',
  text: typeof value === 'string' ? value : JSON.stringify(value),
});
const input = aRewardInput('the answer', anAnswer({ role: 'assistant', content: 'the answer' }));

describe('openaiJudge', () => {
  it('asks for the schema, tries again after 429 and lost connections, and gives the usage', async () => {
    const { judge, server: at } = await judgeOn([
      { kind: 'status', status: 429 },
      { kind: 'dead-socket', text: '' },
      text({ explanation: 'fine', score: 0.8 }),
    ]);
    const reward = rubricJudge({ judge, rubric: 'Be right.', prices: { m: { input: 1e6, output: 0 } } });
    const score = await reward.score(input);
    expect(score).toMatchObject({ value: 0.8, explanation: 'fine' });
    expect(score?.details?.['usd']).toBeGreaterThan(0);
    expect(at.requests).toHaveLength(3);
    expect(at.requests[2]?.headers.authorization).toBe('Bearer key');
    expect(at.requests[2]?.body['response_format']).toMatchObject({
      type: 'json_schema',
      json_schema: { name: 'score', strict: true },
    });
  });

  it('gives up at once on what no retry mends, and says what the server said', async () => {
    const { judge, server: at } = await judgeOn([{ kind: 'status', status: 401, message: 'wrong key' }]);
    await expect(rubricJudge({ judge, rubric: 'r' }).score(input)).rejects.toThrow(/401.*wrong key/);
    expect(at.requests).toHaveLength(1);
  });

  it('asks servers without schemas for an object, or by the prompt alone, with the parameters given', async () => {
    const answers = [text({ score: 1, explanation: '' })];
    const first = await judgeOn(answers, { structuredOutput: 'json-object', parameters: { temperature: 0 } });
    await rubricJudge({ judge: first.judge, rubric: 'r' }).score(input);
    expect(first.server.requests[0]?.body).toMatchObject({
      response_format: { type: 'json_object' },
      temperature: 0,
    });
    await first.server.close();
    const second = await judgeOn(answers, { structuredOutput: 'prompt' });
    await rubricJudge({ judge: second.judge, rubric: 'r' }).score(input);
    expect(second.server.requests[0]?.body).not.toHaveProperty('response_format');
  });

  it('sends no key of OpenAI to another server', async () => {
    vi.stubEnv('OPENAI_API_KEY', 'secret');
    const { judge, server: at } = await judgeOn([text({ score: 1, explanation: '' })], { apiKey: undefined });
    await rubricJudge({ judge, rubric: 'r' }).score(input);
    expect(at.requests[0]?.headers).not.toHaveProperty('authorization');
    vi.unstubAllEnvs();
  });

  it('ends with the signal', async () => {
    const { judge } = await judgeOn([{ kind: 'hang', text: '' }]);
    const signal = AbortSignal.timeout(30);
    await expect(
      judge.ask({ messages: [{ role: 'user', content: 'x' }], schema: {}, schemaName: 's', signal }),
    ).rejects.toMatchObject({ code: 'aborted' });
  });

  it('says what is wrong with its options', () => {
    expect(() => openaiJudge({ model: 'm', baseUrl: 'nowhere' })).toThrow(/"baseUrl"/);
    expect(() =>
      rubricJudge({ judge: openaiJudge({ model: 'm', baseUrl: 'http://x/v1' }), rubric: ' ' }),
    ).toThrow(/"rubric"/);
  });
});

describe('rubricJudge', () => {
  it('sends back a score out of range once, and then gives up', async () => {
    const mended = await judgeOn([text({ score: 7 }), text({ score: 0.7, explanation: '' })]);
    expect(await rubricJudge({ judge: mended.judge, rubric: 'r' }).score(input)).toMatchObject({
      value: 0.7,
    });
    const last = (mended.server.requests[1]?.body.messages ?? []).at(-1);
    expect(last?.['content']).toMatch(/"score" is 7/);
    await mended.server.close();
    const never = await judgeOn([text({ score: 7 }), text({ score: 8 })]);
    await expect(rubricJudge({ judge: never.judge, rubric: 'r' }).score(input)).rejects.toThrow(
      /"score" is 8/,
    );
  });
});

describe('pairwiseJudge', () => {
  const winner = (first: string, second: string) =>
    judgeOn([text({ winner: first, explanation: '' }), text({ winner: second, explanation: '' })]);
  const against = async (first: string, second: string) => {
    const { judge, server: at } = await winner(first, second);
    const score = await pairwiseJudge({ judge, incumbent: () => 'the old answer' }).score(input);
    await at.close();
    return [score?.value, score?.details?.['consistent']];
  };

  it('counts a win in both orders, a loss in both, and a tie where the judge goes by the place', async () => {
    expect(await against('first', 'second')).toEqual([1, 1]);
    expect(await against('second', 'first')).toEqual([0, 1]);
    expect(await against('first', 'first')).toEqual([0.5, 0]);
    expect(await against('tie', 'tie')).toEqual([0.5, 1]);
  });

  it('says nothing, and asks nobody, where the incumbent has no answer', async () => {
    const { judge, server: at } = await winner('first', 'second');
    expect(await pairwiseJudge({ judge, incumbent: () => undefined }).score(input)).toBeUndefined();
    expect(at.requests).toHaveLength(0);
  });
});
