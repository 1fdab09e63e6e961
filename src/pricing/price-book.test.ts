import { describe, expect, it } from 'vitest';
import { PriceBook } from './price-book.ts';

const at = Date.UTC(2026, 0, 1);
const usage = { inputTokens: 1_000_000, outputTokens: 100_000 };

describe('PriceBook', () => {
  it('knows the models of the table, under the provider names of the AI SDK, dated names included', async () => {
    const book = new PriceBook();
    await book.load();
    const usd = (model: string, provider?: string) =>
      book.costOf({ models: [model], provider, usage, at })?.usd;
    expect(usd('gpt-5-mini', 'openai.responses')).toBeCloseTo(0.45);
    expect(usd('gpt-5-mini-2025-08-07', 'openai.chat')).toBeCloseTo(0.45);
    expect(usd('claude-sonnet-4-5', 'anthropic.messages')).toBeGreaterThan(3);
    expect(usd('gpt-5-mini', 'a gateway nobody knows')).toBeCloseTo(0.45);
    expect(usd('no-such-model')).toBeUndefined();
  });

  it('charges the second call on a name as the first, by its own usage and time', async () => {
    const at2024 = Date.UTC(2024, 0, 1);
    for (const [model, provider] of [
      ['gpt-5-mini-2025-08-07', 'openai.chat'],
      ['claude-sonnet-4-5', undefined],
      ['deepseek-chat', 'deepseek'],
      ['no-such-model', 'openai'],
    ] as const) {
      const seen = new PriceBook();
      await seen.load();
      seen.costOf({ models: [model], provider, usage, at: at2024 });
      const fresh = new PriceBook();
      await fresh.load();
      const half = { models: [model], provider, usage: { ...usage, inputTokens: 500_000 }, at };
      expect(seen.costOf(half), model).toEqual(fresh.costOf(half));
      expect(seen.costOf(half), model).toEqual(fresh.costOf(half));
    }
  });

  it('charges cached input less', async () => {
    const book = new PriceBook();
    await book.load();
    const cost = (cachedInputTokens: number) =>
      book.costOf({ models: ['gpt-5-mini'], provider: 'openai', usage: { ...usage, cachedInputTokens }, at })
        ?.usd ?? 0;
    expect(cost(900_000)).toBeLessThan(cost(0));
  });

  it("goes by the user's own prices first, also before the table is there", () => {
    const book = new PriceBook({ 'gpt-5-mini': { input: 10, output: 20, cachedInput: 1 } });
    const cost = book.costOf({
      models: ['gpt-5-mini'],
      usage: { ...usage, cachedInputTokens: 500_000 },
      at,
    });
    expect(cost).toEqual({ usd: 5 + 0.5 + 2, source: 'user' });
  });

  it('counts what a provider reports apart from the input, and nothing where the tokens are not known', () => {
    const book = new PriceBook({ m: { input: 1, output: 0, cachedInput: 0 } });
    const cost = (given: object) => book.costOf({ models: ['m'], usage: given, at })?.usd;
    expect(cost({ inputTokens: 1_000_000, outputTokens: 0, cachedInputTokens: 3_000_000 })).toBe(1);
    expect(cost({ inputTokens: 5 })).toBeUndefined();
  });
});
