/** Asking judges with a budget, a cache and one repair; shared by all rewards that judge. */
import { createHash } from 'node:crypto';
import { InvalidOptionError, JudgeBudgetExceededError, JudgeError } from '../../errors.ts';
import { PriceBook, type ModelPrice } from '../../pricing/price-book.ts';
import type { Usage } from '../../trajectory/records.ts';
import { readAnswer, type Checked } from './answer.ts';
import { memoryCache, type JudgeCache } from './cache.ts';
import type { Judge, JudgeAnswer, JudgeRequest } from './judge.ts';

export interface JudgeSpending {
  /** What may be spent over the life of this reward; beyond it the run ends and can be resumed. */
  readonly maxUsd?: number;
  readonly maxTokens?: number;
  /** Of judges that the price table does not know. By model. */
  readonly prices?: Readonly<Record<string, ModelPrice>>;
  /** Default: the last 2000 judgements, in memory. null: every judgement is made anew. */
  readonly cache?: JudgeCache | null;
}

export interface Spent {
  /** Of judges whose price is known. */
  readonly usd: number;
  readonly tokens: number;
  readonly requests: number;
  readonly cached: number;
}

export interface Judgement<T> {
  readonly value: T;
  readonly usd: number;
}

export class JudgeSession {
  readonly #spending: JudgeSpending;
  readonly #prices: PriceBook;
  readonly #cache: JudgeCache | null;
  #spent = { usd: 0, tokens: 0, requests: 0, cached: 0 };

  constructor(spending: JudgeSpending = {}) {
    for (const field of ['maxUsd', 'maxTokens'] as const) {
      const value = spending[field];
      if (value === undefined || value > 0) continue;
      throw new InvalidOptionError({
        field,
        received: value,
        expected: 'a number above 0',
        fix: 'Leave it out for no limit.',
      });
    }
    this.#spending = spending;
    this.#prices = new PriceBook(spending.prices);
    this.#cache = spending.cache === undefined ? memoryCache() : spending.cache;
  }

  get spent(): Spent {
    return { ...this.#spent };
  }

  /**
   * Asks for a value that passes `check`; an answer that does not is sent back once, with what is wrong with it. Throws
   * JudgeError where the second one does not either, JudgeBudgetExceededError, AbortedError.
   */
  async ask<T>(
    judge: Judge,
    request: JudgeRequest,
    check: (value: unknown) => Checked<T>,
  ): Promise<Judgement<T>> {
    const key = keyOf(judge, request);
    const known = await this.#cache?.get(key);
    if (known !== undefined) {
      const read = readAnswer({ text: known, truncated: false }, check);
      if (read.ok) {
        this.#spent.cached += 1;
        return { value: read.value, usd: 0 };
      }
    }
    const first = await this.#request(judge, request);
    const read = readAnswer(first.answer, check);
    if (read.ok) return this.#keep(key, first.answer, read.value, first.usd);
    const second = await this.#request(judge, repair(request, first.answer, read.fault));
    const again = readAnswer(second.answer, check);
    if (again.ok) return this.#keep(key, second.answer, again.value, first.usd + second.usd);
    throw new JudgeError(`The judge ${judge.model} gave no usable answer in two tries: ${again.fault}.`, {
      fix: 'Use a stronger judge, or shorter trajectories; nothing was scored by guess.',
    });
  }

  async #keep<T>(key: string, answer: JudgeAnswer, value: T, usd: number): Promise<Judgement<T>> {
    await this.#cache?.set(key, answer.text);
    return { value, usd };
  }

  async #request(
    judge: Judge,
    request: JudgeRequest,
  ): Promise<{ readonly answer: JudgeAnswer; readonly usd: number }> {
    this.#checkBudget();
    await this.#prices.load();
    const answer = await judge.ask(request);
    const usd = this.#count(judge, answer.usage);
    return { answer, usd };
  }

  #count(judge: Judge, usage: Usage): number {
    const cost = this.#prices.costOf({
      models: [judge.model],
      provider: judge.provider,
      usage,
      at: Date.now(),
    });
    this.#spent.requests += 1;
    this.#spent.tokens += (usage.inputTokens ?? 0) + (usage.outputTokens ?? 0);
    this.#spent.usd += cost?.usd ?? 0;
    if (cost === undefined && this.#spending.maxUsd !== undefined) {
      throw new JudgeBudgetExceededError(
        `The price of the judge ${judge.model} is not known, so \`maxUsd\` cannot be kept.`,
        { fix: 'Give `prices` for it, or limit it by `maxTokens`.' },
      );
    }
    return cost?.usd ?? 0;
  }

  #checkBudget(): void {
    const { maxUsd = Infinity, maxTokens = Infinity } = this.#spending;
    const { usd, tokens } = this.#spent;
    if (usd < maxUsd && tokens < maxTokens) return;
    throw new JudgeBudgetExceededError(
      `The judge has spent ${usd.toFixed(4)} USD and ${String(tokens)} tokens, all that it was allowed to.`,
      { fix: 'Raise `maxUsd` or `maxTokens` and start again: what is done stays done.' },
    );
  }
}

function repair(request: JudgeRequest, answer: JudgeAnswer, fault: string): JudgeRequest {
  return {
    ...request,
    messages: [
      ...request.messages,
      { role: 'assistant', content: answer.text },
      {
        role: 'user',
        content: `This answer cannot be used: ${fault}. Give the whole answer again, as one JSON object and nothing else.`,
      },
    ],
  };
}

function keyOf(judge: Judge, { messages, schema }: JudgeRequest): string {
  const text = JSON.stringify([judge.provider ?? null, judge.model, messages, schema]);
  return createHash('sha256').update(text).digest('hex');
}
