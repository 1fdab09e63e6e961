/** What every store must do. Called inside a test file: `storeContract('SQLite', open)`. */
import { describe, expect, it } from 'vitest';
import type { Reward, Trajectory } from '../trajectory/records.ts';
import { aCall, aReward, aTrajectory } from '../testing/records.ts';
import type { Store } from './store.ts';

export function storeContract(name: string, open: () => Promise<Store>): void {
  const withStore = async (test: (store: Store) => Promise<void>): Promise<void> => {
    const store = await open();
    try {
      await test(store);
    } finally {
      await store.close();
    }
  };
  const seed = (store: Store, ...trajectories: Trajectory[]) => store.append(trajectories);
  const ids = async (store: Store, query: Parameters<Store['find']>[0]): Promise<string[]> =>
    (await store.find(query)).map((one) => String(one.trajectory.id));

  describe(`${name} store`, () => {
    it('gives a trajectory back as it was, histories and token ids included', () =>
      withStore(async (store) => {
        const first = aCall({ promptIds: [1, 2, 3], completionIds: [4, 5] });
        const second = aCall({ promptIds: [1, 2, 3, 4, 5, 6], completionIds: [7], index: 1, history: first });
        const trajectory = aTrajectory({ events: [first, second] });
        await seed(store, trajectory);
        expect((await store.get(trajectory.id))?.trajectory).toEqual(trajectory);
      }));

    it('stores a trajectory once, however often it is appended', () =>
      withStore(async (store) => {
        const trajectory = aTrajectory({});
        expect(await store.append([trajectory])).toEqual({ stored: 1, duplicates: 0 });
        expect(await store.append([trajectory])).toEqual({ stored: 0, duplicates: 1 });
        expect(await store.count({})).toBe(1);
      }));

    it('refuses a batch with an invalid trajectory as a whole', () =>
      withStore(async (store) => {
        const broken = { ...aTrajectory({}), project: 7 } as unknown as Trajectory;
        await expect(store.append([aTrajectory({}), broken])).rejects.toThrow(/"project".*is 7/);
        expect(await store.count({})).toBe(0);
      }));

    it('finds by scenario, policy, split, thread, message, response and time', () =>
      withStore(async (store) => {
        const call = { ...aCall({}), response: { ...aCall({}).response, id: 'resp-1' } };
        const one = aTrajectory({
          scenario: 's1',
          policy: 'p@1',
          split: 'train',
          threadId: 't1',
          messageId: 'm1',
          endedAt: 10,
          events: [call],
        });
        const other = aTrajectory({ scenario: 's2', policy: null, split: 'test', endedAt: 20 });
        await seed(store, one, other);
        for (const query of [
          { scenario: 's1' },
          { policy: 'p@1' },
          { split: 'train' },
          { threadId: 't1' },
          { messageId: 'm1' },
          { responseId: 'resp-1' },
          { until: 20 },
        ] as const) {
          expect(await ids(store, query), JSON.stringify(query)).toEqual([one.id]);
        }
        expect(await ids(store, { from: 20 })).toEqual([other.id]);
        expect(await ids(store, { order: 'newest-first', limit: 1 })).toEqual([other.id]);
        expect(await ids(store, { after: one.id })).toEqual([other.id]);
      }));

    it('tells scored from unscored, also when the reward came first', () =>
      withStore(async (store) => {
        const scored = aTrajectory({});
        const unscored = aTrajectory({});
        const reward: Reward = aReward(scored.id, 0.5);
        await store.reward([reward, reward]);
        await seed(store, scored, unscored);
        expect(await ids(store, { unscored: true })).toEqual([unscored.id]);
        expect((await store.get(scored.id))?.rewards).toEqual([reward]);
      }));

    it('gives groups with all their members', () =>
      withStore(async (store) => {
        await seed(
          store,
          aTrajectory({ groupId: 'g', scenario: 's' }),
          aTrajectory({ groupId: 'g', scenario: 's' }),
        );
        const [group, ...rest] = await store.groups({});
        expect(rest).toEqual([]);
        expect(group).toMatchObject({ groupId: 'g', scenario: 's' });
        expect(group?.trajectories).toHaveLength(2);
      }));

    it('lets a trajectory into one training step only, unless that step failed', () =>
      withStore(async (store) => {
        const key = { project: 'p', name: 'n' };
        await store.beginStep({ ...key, step: 1, jobId: 'a', trajectoryIds: ['x', 'y'], createdAt: 1 });
        const again = { ...key, step: 2, jobId: 'b', trajectoryIds: ['y'], createdAt: 2 };
        await expect(store.beginStep(again)).rejects.toThrow(/UNIQUE/);
        expect(await store.steps('p', 'n')).toHaveLength(1);
        await store.endStep({ ...key, step: 1, state: 'failed', adapterLocation: null, metrics: {} });
        await store.beginStep(again);
        await store.endStep({
          ...key,
          step: 2,
          state: 'published',
          adapterLocation: '/a',
          metrics: { loss: 1 },
        });
        const steps = await store.steps('p', 'n');
        expect(steps.map((step) => [step.step, step.state])).toEqual([
          [1, 'failed'],
          [2, 'published'],
        ]);
        expect(steps[1]).toMatchObject({ trajectoryIds: ['y'], adapterLocation: '/a', metrics: { loss: 1 } });
      }));

    it('deletes a trajectory with its rewards', () =>
      withStore(async (store) => {
        const trajectory = aTrajectory({});
        await seed(store, trajectory);
        await store.reward([aReward(trajectory.id, 1)]);
        expect(await store.delete([trajectory.id])).toBe(1);
        expect(await store.stats()).toMatchObject({ trajectories: 0, rewards: 0 });
      }));
  });
}
