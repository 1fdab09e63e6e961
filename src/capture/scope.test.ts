import { describe, expect, it } from 'vitest';
import { asSideCalls, CallLayer, inSideCalls } from './scope.ts';

describe('CallLayer', () => {
  // First: layers are counted for the whole process.
  it('is alone until there is another', () => {
    const first = new CallLayer();
    expect(first.isAlone).toBe(true);
    const second = new CallLayer();
    expect([first.isAlone, second.isAlone]).toEqual([false, false]);
  });

  it('takes a call for itself, in all that is started by it and nowhere else', async () => {
    const [above, below] = [new CallLayer(), new CallLayer()];
    const [prompt, other] = [[{ role: 'user' }], [{ role: 'user' }]];
    const seen = () => [below.isInsideCall(), below.isAnswering(prompt), below.isAnswering(other)];
    const answered = above.answer(prompt, async () => {
      await Promise.resolve();
      return seen();
    });
    expect(seen()).toEqual([false, false, false]);
    expect(await answered).toEqual([true, true, false]);
  });

  it('leaves a call the side call that it was', () => {
    expect(asSideCalls(() => new CallLayer().answer([], inSideCalls))).toBe(true);
    expect(new CallLayer().answer([], inSideCalls)).toBe(false);
  });
});
