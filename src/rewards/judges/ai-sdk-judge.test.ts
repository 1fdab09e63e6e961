import { expect, it } from 'vitest';
import { aRewardInput } from '../../testing/reward-input.ts';
import { rubricJudge } from './rubric.ts';

it.each([
  ['V2', 'stop', { inputTokens: 10, outputTokens: 4, cachedInputTokens: 3 }],
  [
    'V3 and V4',
    { unified: 'stop', raw: 'stop' },
    { inputTokens: { total: 10, cacheRead: 3 }, outputTokens: { total: 4 } },
  ],
])('judges by a language model of specification %s', async (_, finishReason, usage) => {
  const asked: unknown[] = [];
  const model = {
    specificationVersion: 'v4',
    provider: 'test',
    modelId: 'judge',
    doGenerate: (options: unknown) => {
      asked.push(options);
      return Promise.resolve({
        content: [{ type: 'reasoning' }, { type: 'text', text: '{"explanation": "e", "score": 0.25}' }],
        finishReason,
        usage,
      });
    },
  };
  const prices = { judge: { input: 1e6, output: 1e6, cachedInput: 0 } };
  const reward = rubricJudge({ judge: model, rubric: 'Be right.', prices });
  expect(reward.source).toEqual({ type: 'judge', name: 'rubric', model: 'judge' });
  expect(await reward.score(aRewardInput(''))).toEqual({
    value: 0.25,
    explanation: 'e',
    details: { usd: 7 + 4 },
  });
  expect(asked[0]).toMatchObject({
    responseFormat: { type: 'json', name: 'score' },
    prompt: [{ role: 'system' }, { role: 'user', content: [{ type: 'text' }] }],
  });
});

it('takes an answer that broke off for none', async () => {
  let count = 0;
  const model = {
    specificationVersion: 'v2',
    provider: 'test',
    modelId: 'judge',
    doGenerate: () => {
      count += 1;
      return Promise.resolve({
        content: [{ type: 'text', text: '{"explanation": "e", "score": 0}' }],
        finishReason: 'length',
        usage: {},
      });
    },
  };
  await expect(rubricJudge({ judge: model, rubric: 'r' }).score(aRewardInput(''))).rejects.toThrow(
    /broke off/,
  );
  expect(count).toBe(2);
});
