import { describe, expect, it } from 'vitest';
import { aCall, aTrajectory } from '../testing/records.ts';
import { historiesOf } from './histories.ts';
import { finalText, toolCalls, totalsOf } from './views.ts';

describe('historiesOf', () => {
  it('joins a call to the conversation that its prompt begins with', () => {
    const first = aCall({});
    const second = aCall({ index: 1, history: first });
    const [history, ...more] = historiesOf(aTrajectory({ events: [first, second] }));
    expect(more).toEqual([]);
    expect(history?.messages.map((message) => message.content)).toEqual(['turn 0', 'yes', 'turn 1', 'yes']);
    expect(history?.callIds).toEqual([first.id, second.id]);
  });

  it('begins another for a sub-agent or a compacted history, and goes on with the first after it', () => {
    const first = aCall({});
    const inner = aCall({ index: 5 });
    const second = aCall({ index: 1, history: first });
    const histories = historiesOf(aTrajectory({ events: [first, inner, second] }));
    expect(histories.map((one) => one.callIds)).toEqual([[first.id, second.id], [inner.id]]);
  });

  it('goes on where reasoning was not sent back', () => {
    const first = aCall({});
    first.response.message = { role: 'assistant', content: 'yes', reasoning: 'because' };
    const second = aCall({ index: 1, history: first });
    second.request.messages = second.request.messages.map(({ reasoning: _, ...rest }) => rest);
    expect(historiesOf(aTrajectory({ events: [first, second] }))).toHaveLength(1);
  });

  it('leaves side calls out, as do the views', () => {
    const side = aCall({ index: 1 });
    side.trainability = { trainable: false, reason: 'side-call' };
    side.response.message = { role: 'assistant', content: 'A title' };
    const trajectory = aTrajectory({ events: [aCall({}), side] });
    expect(historiesOf(trajectory)).toHaveLength(1);
    expect(finalText(trajectory)).toBe('yes');
    expect(totalsOf(trajectory)).toMatchObject({ inputTokens: 4, outputTokens: 2 });
    expect(toolCalls(trajectory)).toEqual([]);
  });
});
