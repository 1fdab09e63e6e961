import { describe, expect, it } from 'vitest';
import { classifyFailure, retryAfterMs, retryDelay } from './retry.ts';

const failure = (fields: object) => Object.assign(new Error('no'), fields);

describe('classifyFailure', () => {
  it.each([
    ['a 429 of the AI SDK', failure({ statusCode: 429 }), 'rate-limited'],
    ['a 429 of the openai package', failure({ status: 429 }), 'rate-limited'],
    ['an overloaded server', failure({ status: 529 }), 'rate-limited'],
    ['a 503', failure({ statusCode: 503 }), 'transient'],
    ['a lost connection under fetch', failure({ cause: failure({ code: 'ECONNRESET' }) }), 'transient'],
    ['a client that gave up retrying', failure({ lastError: failure({ statusCode: 429 }) }), 'rate-limited'],
    ['a bad request', failure({ statusCode: 400, cause: failure({ code: 'ECONNRESET' }) }), 'failed'],
    ['a fault of the agent', new TypeError('undefined is not a function'), 'failed'],
    ['no error at all', 'text', 'failed'],
  ])('%s', (_, error, expected) => {
    expect(classifyFailure(error)).toBe(expected);
  });

  it('asks the user first', () => {
    const classify = (error: unknown) => (error === 'busy' ? 'transient' : undefined);
    expect(classifyFailure('busy', classify)).toBe('transient');
    expect(classifyFailure(failure({ status: 429 }), classify)).toBe('rate-limited');
  });

  it('ends on errors that wrap each other', () => {
    const one = failure({});
    const other = failure({ cause: one });
    one.cause = other;
    expect(classifyFailure(one)).toBe('failed');
  });
});

describe('retryDelay', () => {
  it('doubles, with a jitter that is the same for the same task, and ends at its limit', () => {
    const delays = [1, 2, 3].map((tries) => retryDelay(undefined, tries, { delayMs: 100, seed: 5 }));
    for (const [index, delay] of delays.entries()) {
      expect(delay).toBeGreaterThanOrEqual(50 * 2 ** index);
      expect(delay).toBeLessThan(150 * 2 ** index);
    }
    expect(retryDelay(undefined, 2, { delayMs: 100, seed: 5 })).toBe(delays[1]);
    expect(retryDelay(undefined, 30, { delayMs: 100, maxDelayMs: 700, seed: 5 })).toBe(700);
  });

  it('waits at least as long as the server asks', () => {
    expect(retryAfterMs(failure({ responseHeaders: { 'retry-after': '3' } }))).toBe(3000);
    expect(retryAfterMs(failure({ headers: new Headers({ 'retry-after-ms': '40' }) }))).toBe(40);
    expect(retryDelay(failure({ headers: new Headers({ 'retry-after': '9' }) }), 1, { seed: 1 })).toBe(9000);
  });
});
