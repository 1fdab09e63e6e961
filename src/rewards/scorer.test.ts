import { describe, expect, it } from 'vitest';
import { JudgeBudgetExceededError } from '../errors.ts';
import { aRewardInput } from '../testing/reward-input.ts';
import { aCall, aTrajectory } from '../testing/records.ts';
import { callReward, codeReward } from './code-reward.ts';
import type { GroupReward } from './reward.ts';
import { weightedSum, type RewardEntry, type WeightedSumOptions } from './scorer.ts';

const constant = (name: string, value: number | undefined) => codeReward(name, () => value);
const group = (name: string, score: GroupReward['scoreGroup']): GroupReward => ({
  scope: 'group',
  name,
  source: { type: 'judge', name },
  scoreGroup: score,
});

async function score(rewards: readonly RewardEntry[], options: WeightedSumOptions = {}) {
  const scorer = weightedSum(rewards, options);
  const input = aRewardInput(undefined);
  const { scenario, trajectory, signal } = input;
  const partial = await scorer.score(input);
  const [one] = await scorer.scoreGroup({ scenario, trajectories: [trajectory], signal }, [partial]);
  return one;
}

describe('weightedSum', () => {
  it('weighs and clamps each value, and keeps it as it was', async () => {
    const one = await score([
      { reward: constant('a', 5), weight: 2, clamp: { max: 1 } },
      { reward: constant('b', -3), clamp: { min: -0.5 } },
      { reward: constant('seen', 9), weight: 0 },
    ]);
    expect(one).toMatchObject({ status: 'scored', total: 1.5 });
    expect(one?.components.map(({ name, value }) => [name, value])).toEqual([
      ['a', 5],
      ['b', -3],
      ['seen', 9],
    ]);
  });

  it('clamps the whole', async () => {
    expect(await score([constant('a', 5)], { clamp: { max: 1 } })).toMatchObject({ total: 1 });
  });

  it('gives what a closed gate says, and the sum where it is open', async () => {
    const gated = (value: number) => [
      constant('a', 3),
      { reward: constant('valid', value), gate: { atLeast: 1, otherwise: -1 } },
    ];
    expect(await score(gated(0))).toMatchObject({ total: -1 });
    expect(await score(gated(1))).toMatchObject({ total: 3 });
  });

  it('leaves out what says nothing, and is missing where nothing speaks', async () => {
    expect(await score([constant('a', undefined), constant('b', 1)])).toMatchObject({ total: 1 });
    expect(await score([constant('a', undefined)])).toMatchObject({ status: 'missing' });
  });

  it('is missing, not 0, where a reward throws, gives no finite number, or takes too long', async () => {
    const slow = codeReward('slow', () => new Promise<number>(() => undefined), { timeoutMs: 5 });
    const broken = codeReward('broken', () => Promise.reject(new Error('no')));
    const faulty = [
      [broken, /"broken" failed.*no/],
      [constant('nan', Number.NaN), /"nan" failed.*NaN/],
      [slow, /"slow" failed.*within 5 ms/],
    ] as const;
    for (const [reward, reason] of faulty) {
      const one = await score([constant('a', 1), reward]);
      expect(one).toMatchObject({ status: 'missing', components: [{ name: 'a', value: 1 }] });
      expect(one?.status === 'missing' ? one.reason : '').toMatch(reason);
    }
  });

  it('tells work that takes too long to stop', async () => {
    let told = false;
    const slow = codeReward(
      'slow',
      ({ signal }) =>
        new Promise<number>(() => {
          signal.addEventListener('abort', () => {
            told = true;
          });
        }),
      { timeoutMs: 5 },
    );
    await score([slow]);
    expect(told).toBe(true);
  });

  it('keeps rewards of single calls apart from the total', async () => {
    const call = aCall({});
    const input = aRewardInput(undefined, aTrajectory({ events: [call] }));
    const reward = callReward('step', () => [{ callId: call.id, value: 2 }]);
    const scorer = weightedSum([constant('a', 1), { reward, weight: 0.5 }]);
    const partial = await scorer.score(input);
    const [one] = await scorer.scoreGroup({ ...input, trajectories: [input.trajectory] }, [partial]);
    expect(one).toMatchObject({ total: 1 });
    expect(one?.status === 'scored' ? [...one.callTotals] : []).toEqual([[call.id, 1]]);
    const elsewhere = weightedSum([callReward('step', () => [{ callId: 'other', value: 1 }])]);
    expect((await elsewhere.score(input)).failure).toMatch(/id of a model call/);
  });

  describe('with a reward of the group', () => {
    const trajectories = [aTrajectory({}), aTrajectory({}), aTrajectory({})];
    const input = { scenario: { id: 's' }, trajectories, signal: new AbortController().signal };

    it('compares the members that have not failed, and joins the values to them', async () => {
      const seen: number[] = [];
      const judge = group('judge', ({ trajectories: given }) => {
        seen.push(given.length);
        return Promise.resolve(given.map((one) => ({ value: trajectories.indexOf(one) })));
      });
      const scores = await weightedSum([judge]).scoreGroup(input, [
        { components: [] },
        { components: [], failure: 'timed out' },
        { components: [] },
      ]);
      expect(seen).toEqual([2]);
      expect(scores.map((one) => (one.status === 'scored' ? one.total : one.reason))).toEqual([
        0,
        'timed out',
        2,
      ]);
    });

    it('does not ask again for what an earlier run has judged wholly, and does for half of it', async () => {
      let asked = 0;
      const judge = group('judge', () => {
        asked += 1;
        return Promise.resolve([{ value: 7 }, { value: 8 }, { value: 9 }]);
      });
      const scorer = weightedSum([judge]);
      const judged = (value: number) => ({ components: [{ name: 'judge', value, source: judge.source }] });
      const totals = async (partials: Parameters<typeof scorer.scoreGroup>[1]) =>
        (await scorer.scoreGroup(input, partials)).map((one) => (one.status === 'scored' ? one.total : null));
      expect(await totals([judged(1), judged(2), judged(3)])).toEqual([1, 2, 3]);
      expect(asked).toBe(0);
      expect(await totals([judged(1), judged(2), { components: [] }])).toEqual([7, 8, 9]);
      expect(asked).toBe(1);
    });

    it('leaves a group without scores where its judge fails, and ends the run where a budget is used up', async () => {
      const failing = (error: Error) => weightedSum([group('judge', () => Promise.reject(error))]);
      const partials = trajectories.map(() => ({ components: [] }));
      const scores = await failing(new Error('down')).scoreGroup(input, partials);
      expect(scores.map((one) => one.status)).toEqual(['missing', 'missing', 'missing']);
      const budget = new JudgeBudgetExceededError('Spent.', { fix: 'Raise it.' });
      await expect(failing(budget).scoreGroup(input, partials)).rejects.toBe(budget);
    });
  });

  it('has another fingerprint once a weight, a gate or a name is another', () => {
    const of = (...rewards: RewardEntry[]) => weightedSum(rewards).fingerprint;
    const a = constant('a', 1);
    expect(of(a)).toBe(of(constant('a', 2)));
    const others = [
      of({ reward: a, weight: 2 }),
      of({ reward: a, gate: { atLeast: 1 } }),
      of(constant('b', 1)),
    ];
    expect(new Set([of(a), ...others]).size).toBe(4);
  });

  it('refuses what cannot be summed', () => {
    const a = constant('a', 1);
    expect(() => weightedSum([])).toThrow(/at least one reward/);
    expect(() => weightedSum([a, a])).toThrow(/different names/);
    expect(() => weightedSum([constant('total', 1)])).toThrow(/none of them "total"/);
    expect(() => weightedSum([{ reward: a, weight: Number.NaN }])).toThrow(/rewards\.a\.weight/);
    expect(() => weightedSum([{ reward: a, clamp: { min: 2, max: 1 } }])).toThrow(/min ≤ max/);
    expect(() => codeReward(' ', () => 1)).toThrow(/non-empty name/);
    expect(() => codeReward('a', () => 1, { timeoutMs: 0 })).toThrow(/timeoutMs/);
  });
});
