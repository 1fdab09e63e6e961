import { describe, expect, it } from 'vitest';
import { toFeedbackRecord, type Feedback, type FeedbackOptions } from './feedback.ts';

const make = (feedback: Feedback, target = {}, options: FeedbackOptions = {}) =>
  toFeedbackRecord({ project: 'p', target: { threadId: 't', ...target }, feedback, options, now: 7 });

describe('toFeedbackRecord', () => {
  it('gives the same id for the same target, name and author, and another for anything else', () => {
    const { id } = make({ name: 'good', value: true });
    expect(make({ name: 'good', value: false, at: 9 }).id).toBe(id);
    expect(make({ name: 'good', value: true, by: 'ada' }).id).not.toBe(id);
    expect(make({ name: 'kind', value: true }).id).not.toBe(id);
    expect(make({ name: 'good', value: true }, { keys: { order: 'A' } }).id).not.toBe(id);
  });

  it('takes thumbs, numbers, comments, corrections and withdrawals', () => {
    expect(make({ name: 'n', value: true })).toMatchObject({ kind: 'boolean', value: 1, at: 7 });
    expect(make({ name: 'n', value: 0.3, at: new Date(5) })).toMatchObject({
      kind: 'number',
      value: 0.3,
      at: 5,
    });
    expect(make({ name: 'n', comment: 'too long' })).toMatchObject({ kind: 'text', value: null });
    expect(make({ name: 'n', correction: 'Refund it.' })).toMatchObject({ correction: 'Refund it.' });
    expect(make({ name: 'n', value: null })).toMatchObject({ kind: 'withdrawn', value: null });
  });

  it('has a window for threads and keys, and none for what names one run', () => {
    expect(make({ name: 'n', value: 1 }).windowMs).toBe(604_800_000);
    expect(make({ name: 'n', value: 1 }, { messageId: 'm' }).windowMs).toBeNull();
    expect(make({ name: 'n', value: 1 }, {}, { windowMs: 10 }).windowMs).toBe(10);
  });

  it('refuses what it cannot use, by field', () => {
    expect(() => make({ name: 'n' })).toThrow(/"feedback\.value" must be given/);
    expect(() => make({ name: 'n', value: Number.NaN })).toThrow(/"feedback\.value"/);
    expect(() => make({ name: '', value: 1 })).toThrow(/"feedback\.name"/);
    expect(() => make({ name: 'n', value: 1 }, {}, { windowMs: -1 })).toThrow(/"options\.windowMs"/);
    expect(() => make({ name: 'n', value: 1 }, { thread: 't' })).toThrow(/"target"/);
    const nothing = { project: 'p', target: {}, feedback: { name: 'n', value: 1 }, options: {}, now: 0 };
    expect(() => toFeedbackRecord(nothing)).toThrow(/at least one of keys/);
  });
});
