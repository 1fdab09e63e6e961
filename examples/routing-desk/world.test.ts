import { describe, expect, it } from 'vitest';
import { seededRandom } from '../support-desk/seeded-random.ts';
import { makeMessages, prompt, teamIn } from './world.ts';

const teams = ['delivery', 'payment', 'repair', 'return'];

describe('makeMessages', () => {
  it('gives each team about as many messages, so that no constant answer earns more than another', () => {
    for (const pool of ['train', 'heldOut'] as const) {
      const byTeam = Map.groupBy(makeMessages(pool, 400, seededRandom(1)), (one) => one.team);
      expect([...byTeam.keys()].sort()).toEqual(teams);
      for (const messages of byTeam.values()) {
        expect(messages.length).toBeGreaterThan(60);
        expect(messages.length).toBeLessThan(140);
      }
    }
  });

  it('gives the same messages for the same seed, and no text twice', () => {
    const messages = makeMessages('train', 300, seededRandom(7));
    expect(makeMessages('train', 300, seededRandom(7))).toEqual(messages);
    expect(new Set(messages.map((one) => one.text)).size).toBe(300);
  });

  it('has no held-out message among those of training or the examples of the prompt', () => {
    const training = makeMessages('train', 1200, seededRandom(1));
    const heldOut = makeMessages('heldOut', 300, seededRandom(2));
    const [first] = heldOut;
    if (first === undefined) throw new RangeError('There is no message.');
    const known = new Set([
      ...training.map((one) => one.text),
      ...prompt(first)
        .messages.slice(0, -1)
        .map((one) => one.content),
    ]);
    expect(heldOut.filter((one) => known.has(one.text))).toEqual([]);
  });
});

describe('teamIn', () => {
  it('takes a team alone, whatever its case, with or without a full stop', () => {
    expect(teamIn(' Repair.\n')).toBe('repair');
    expect(teamIn('payment')).toBe('payment');
  });

  it('takes nothing else', () => {
    for (const answer of ['', 'repairs', 'return or repair', 'return it'])
      expect(teamIn(answer)).toBeUndefined();
  });
});
