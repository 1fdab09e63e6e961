/** What every store must do. Called inside a test file: `storeContract('SQLite', open)`. */
import { describe, expect, it } from 'vitest';
import type { Reward, Trajectory } from '../trajectory/records.ts';
import type { NewFeedback } from '../trajectory/feedback.ts';
import { aCall, aFeedback, aReward, aTrajectory } from '../testing/records.ts';
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

    it('names the field of what is invalid as the caller knows it', () =>
      withStore(async (store) => {
        const call = aCall({});
        const invalid = (changed: object) =>
          store.append([aTrajectory({ events: [call, { ...call, ...changed }] })]);
        const { request, tokens } = call;
        await expect(invalid({ tokens: { ...tokens, completionIds: 2 } })).rejects.toThrow(
          /"events\.1\.tokens\.completionIds".*is 2/,
        );
        await expect(invalid({ tokens: { ...tokens, logprobs: [Number.NaN] } })).rejects.toThrow(
          /"events\.1\.tokens\.logprobs"/,
        );
        await expect(invalid({ request: { ...request, tools: null } })).rejects.toThrow(
          /"events\.1\.request\.tools".*is null/,
        );
        await expect(invalid({ request: { ...request, messages: [{ content: '' }] } })).rejects.toThrow(
          /"events\.1\.request\.messages\.0\.role"/,
        );
      }));

    it('stores what it has prepared, whatever becomes of the trajectory meanwhile', () =>
      withStore(async (store) => {
        const trajectory = aTrajectory({ metadata: { said: 'before' } });
        const asItWas = structuredClone(trajectory);
        const prepared = store.prepare(trajectory);
        trajectory.metadata['said'] = 'after';
        expect(prepared.id).toBe(trajectory.id);
        expect(prepared.bytes).toBeGreaterThan(JSON.stringify(trajectory.metadata).length);
        expect(await store.appendPrepared([prepared])).toEqual({ stored: 1, duplicates: 0 });
        expect(await store.appendPrepared([prepared])).toEqual({ stored: 0, duplicates: 1 });
        expect((await store.get(trajectory.id))?.trajectory).toEqual(asItWas);
      }));

    it('refuses to prepare what is invalid, and to append what it has not prepared', () =>
      withStore(async (store) => {
        const broken = { ...aTrajectory({}), project: 7 } as unknown as Trajectory;
        expect(() => store.prepare(broken)).toThrow(/"project".*is 7/);
        await expect(store.appendPrepared([{ id: 'from-elsewhere', bytes: 1 }])).rejects.toThrow(
          /from-elsewhere/,
        );
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

    it('attaches feedback to the trajectories that its target fits, whichever comes first', () =>
      withStore(async (store) => {
        const early = aTrajectory({ threadId: 't', keys: { order: 'A' }, startedAt: 10, endedAt: 20 });
        const late = aTrajectory({ threadId: 't', keys: { order: 'A' }, startedAt: 30, endedAt: 40 });
        const other = aTrajectory({ threadId: 't', keys: { order: 'B' }, startedAt: 10, endedAt: 20 });
        const afterwards = aTrajectory({ threadId: 't', keys: { order: 'A' }, startedAt: 60, endedAt: 70 });
        await seed(store, early, other);
        const target = { threadId: 't', keys: { order: 'A' } };
        const [receipt] = await store.feedback([aFeedback({ target, at: 50 })]);
        expect(receipt).toMatchObject({ outcome: 'new', revision: 1, trajectoryIds: [early.id] });
        await seed(store, late, afterwards);
        const about = async (one: Trajectory) =>
          (await store.get(one.id))?.feedback.map((piece) => piece.value);
        expect(await about(early)).toEqual([1]);
        expect(await about(late)).toEqual([1]);
        expect(await about(other)).toEqual([]);
        expect(await about(afterwards)).toEqual([]);
      }));

    it('finds a run by its call, response, message, run id or key', () =>
      withStore(async (store) => {
        const call = { ...aCall({}), response: { ...aCall({}).response, id: 'resp-1' } };
        const one = aTrajectory({ messageId: 'm1', runId: 'r1', keys: { order: 'A' }, events: [call] });
        await seed(store, one, aTrajectory({}));
        const targets = [
          { trajectoryId: one.id },
          { callId: `${one.id}.3` },
          { responseId: 'resp-1' },
          { messageId: 'm1' },
          { runId: 'r1' },
          { keys: { order: 'A' } },
        ];
        for (const [index, target] of targets.entries()) {
          const [receipt] = await store.feedback([aFeedback({ id: `f${String(index)}`, target })]);
          expect(receipt?.trajectoryIds, JSON.stringify(target)).toEqual([one.id]);
        }
        expect(await ids(store, { runId: 'r1', keys: { order: 'A' } })).toEqual([one.id]);
      }));

    it('keeps to the window of feedback, and to the latest run where that is asked for', () =>
      withStore(async (store) => {
        const old = aTrajectory({ threadId: 't', startedAt: 10, endedAt: 20 });
        const recent = aTrajectory({ threadId: 't', startedAt: 80, endedAt: 90 });
        await seed(store, old, recent);
        const target = { threadId: 't' };
        const attached = async (given: Partial<NewFeedback>) =>
          (await store.feedback([aFeedback({ target, at: 100, ...given })]))[0]?.trajectoryIds;
        expect(await attached({ id: 'window', windowMs: 50 })).toEqual([recent.id]);
        expect(await attached({ id: 'latest', applies: 'latest', at: 85 })).toEqual([recent.id]);
        expect(await attached({ id: 'latest-then', applies: 'latest', at: 50 })).toEqual([old.id]);
        expect(new Set(await attached({ id: 'all' }))).toEqual(new Set([old.id, recent.id]));
      }));

    it('takes the same feedback once, a later one as its revision, and an earlier one as history', () =>
      withStore(async (store) => {
        const one = aTrajectory({});
        await seed(store, one);
        const target = { trajectoryId: one.id };
        const send = async (given: Partial<NewFeedback>) =>
          (await store.feedback([aFeedback({ target, at: 10, ...given })]))[0]?.outcome;
        expect(await send({ value: 1 })).toBe('new');
        expect(await send({ value: 1 })).toBe('duplicate');
        expect(await send({ value: 0, at: 20 })).toBe('revised');
        expect(await send({ value: 1 })).toBe('outdated');
        const values = async () => (await store.get(one.id))?.feedback.map((piece) => piece.value);
        expect(await values()).toEqual([0]);
        expect(await ids(store, { unscored: true })).toEqual([]);
        expect(await send({ value: null, kind: 'withdrawn', at: 30 })).toBe('revised');
        expect(await values()).toEqual([]);
        expect(await ids(store, { unscored: true })).toEqual([one.id]);
        expect((await store.feedbackHistory('feedback')).map((piece) => piece.value)).toEqual([1, 0, null]);
      }));

    it('keeps feedback of another project apart', () =>
      withStore(async (store) => {
        await seed(store, aTrajectory({ threadId: 't' }));
        const [receipt] = await store.feedback([aFeedback({ project: 'other', target: { threadId: 't' } })]);
        expect(receipt?.trajectoryIds).toEqual([]);
      }));

    it('notes a task of a run of rollouts once', () =>
      withStore(async (store) => {
        const record = {
          runId: 'r',
          taskId: 's/0',
          tries: 1,
          failure: null,
          tokens: 5,
          usd: 0.5,
          finishedAt: 1,
        };
        await store.recordRollouts([{ ...record, trajectoryId: 'first' }]);
        await store.recordRollouts([{ ...record, trajectoryId: 'second' }]);
        expect(await store.rollouts('r')).toEqual([{ ...record, trajectoryId: 'first' }]);
        expect(await store.rollouts('other')).toEqual([]);
        await store.forgetRollouts('r');
        expect(await store.rollouts('r')).toEqual([]);
      }));

    it('keeps how a step judged its trajectories', () =>
      withStore(async (store) => {
        const judgements = { x: { groupId: 'g', total: 0.5 } };
        const step = { project: 'p', name: 'n', step: 1, jobId: 'a', createdAt: 1 };
        await store.beginStep({ ...step, trajectoryIds: ['x', 'y'], judgements });
        expect(await store.steps('p', 'n')).toMatchObject([{ trajectoryIds: ['x', 'y'], judgements }]);
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
