/** Feedback that comes late: over restarts, from other processes, more than once. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import {
  createApprentice,
  openSqliteStore,
  type Feedback,
  type FeedbackReceipt,
  type FeedbackTarget,
} from '../src/index.ts';
import { aCall, aTrajectory } from '../src/testing/records.ts';
import { buildBatch } from '../src/training/steps.ts';
import { freshFolder } from './recording.ts';

const fixture = fileURLToPath(new URL('./fixtures/feedback-host.ts', import.meta.url));

/** Runs a process of its own and gives its receipts. */
async function host(
  folder: string,
  work: { runs?: { scenario: string; order: string }[]; feedback?: [FeedbackTarget, Feedback][] },
): Promise<FeedbackReceipt[]> {
  const flags = ['--disable-warning=ExperimentalWarning', fixture, folder, JSON.stringify(work)];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  return JSON.parse(stdout) as FeedbackReceipt[];
}

describe('feedback from other processes', () => {
  it('lands once and revised, on the right trajectory, sent twice after a restart and then said anew', async () => {
    const folder = await freshFolder();
    await host(folder, {
      runs: [
        { scenario: 'a', order: 'A1' },
        { scenario: 'b', order: 'B2' },
      ],
    });
    const target = { keys: { order: 'B2' } };
    const first: Feedback = { name: 'resolved', value: true, by: 'customer' };
    const twice = await host(folder, {
      feedback: [
        [target, first],
        [target, first],
      ],
    });
    const again = await host(folder, { feedback: [[target, first]] });
    const revised = await host(folder, {
      feedback: [[target, { ...first, value: false, comment: 'It broke again.' }]],
    });
    expect([...twice, ...again, ...revised].map((one) => [one.outcome, one.revision])).toEqual([
      ['new', 1],
      ['duplicate', 1],
      ['duplicate', 1],
      ['revised', 2],
    ]);

    const store = await openSqliteStore({ folder });
    const found = await store.find({});
    const history = await store.feedbackHistory(twice[0]?.id ?? '');
    await store.close();
    expect(found.map((one) => [one.trajectory.scenario, one.feedback.map((piece) => piece.value)])).toEqual([
      ['a', []],
      ['b', [0]],
    ]);
    expect(history.map((piece) => [piece.revision, piece.value])).toEqual([
      [1, 1],
      [2, 0],
    ]);
  });

  it('waits for a trajectory that is written later', async () => {
    const folder = await freshFolder();
    const at = Date.now() + 60_000;
    const [waiting] = await host(folder, {
      feedback: [[{ keys: { order: 'C3' } }, { name: 'resolved', value: 1, at }]],
    });
    expect(waiting).toMatchObject({ outcome: 'new', trajectoryIds: [] });
    await host(folder, { runs: [{ scenario: 'c', order: 'C3' }] });
    const store = await openSqliteStore({ folder });
    const [found] = await store.find({ unscored: false });
    await store.close();
    expect(found?.feedback).toMatchObject([{ name: 'resolved', value: 1 }]);
  });
});

describe('recorded groups by feedback', () => {
  it('train on those that somebody judged; one that nobody judged is missing, not 0', async () => {
    const apprentice = createApprentice({ project: 'project', name: 'test', folder: await freshFolder() });
    const store = await apprentice.store();
    const make = (id: string, scenario = 's') =>
      aTrajectory({
        id: id as never,
        scenario,
        endedAt: Date.now(),
        events: [aCall({ completionIds: [3, 4] })],
      });
    await store.append([make('good'), make('bad'), make('silent'), make('lonely', 'other')]);
    const say = (trajectoryId: string, value: boolean) =>
      apprentice.feedback({ trajectoryId }, { name: 'resolved', value });
    await say('good', true);
    await say('bad', false);
    await say('lonely', true);

    const rules = { rewards: [{ name: 'resolved' }] };
    const dryRun = await apprentice.recordedGroups({}, rules);
    expect(dryRun).toMatchObject({
      trajectories: 4,
      withSignal: 1,
      withoutSignal: { single: 1 },
      leftOut: { 'no-reward': 1 },
    });
    const [group] = dryRun.groups.filter((one) => one.signal === true);
    const batch = buildBatch(group?.members ?? [], { maxTokens: 100 });
    expect(Object.fromEntries(batch.rows.map((row) => [row.rowId, row.advantages]))).toEqual({
      'good.0': [0.5, 0.5],
      'bad.0': [-0.5, -0.5],
    });
    // Waiting for feedback, the silent one counts as waiting; once the wait is over it is missing all the same.
    const waiting = { ...rules, maturity: { feedback: ['resolved'] } };
    expect((await apprentice.recordedGroups({}, waiting)).leftOut).toEqual({ immature: 1 });
    const over = { ...rules, maturity: { feedback: ['resolved'], afterMs: 0 } };
    expect((await apprentice.recordedGroups({}, over)).leftOut).toEqual({ 'no-reward': 1 });
    await apprentice.close();
  });
});
