/** Nothing is lost silently: every trajectory is stored or counted. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FaultCounter } from '../src/capture/faults.ts';
import { StoreSink } from '../src/capture/sink.ts';
import { createApprentice, openSqliteStore, StoreError, type Store } from '../src/index.ts';
import { aReward, aTrajectory } from '../src/testing/records.ts';
import { freshFolder } from './recording.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('StoreSink', () => {
  it('records a burst of 1,500 concurrent runs wholly', async () => {
    const apprentice = createApprentice({ project: 'p', name: 'n', folder: await freshFolder() });
    await Promise.all(
      Array.from({ length: 1500 }, (_, index) =>
        apprentice.run({ scenario: String(index) }, () => Promise.resolve()),
      ),
    );
    apprentice.recorder.finishAll();
    expect(await apprentice.flush({ timeoutMs: 20_000 })).toEqual({ complete: true });
    expect(await (await apprentice.store()).count({})).toBe(1500);
    expect((await apprentice.status()).capture).toMatchObject({ accepted: 1500, stored: 1500, dropped: {} });
    await apprentice.close();
  });

  it('writes a trajectory down as it is when it comes, once the store is open', async () => {
    const store = await openSqliteStore({ folder: await freshFolder() });
    const sink = new StoreSink({ store: Promise.resolve(store), faults: new FaultCounter() });
    sink.accept(aTrajectory({}));
    await sink.flush({ timeoutMs: 10_000 });
    expect(await storedOfWhatChanges(sink, store)).toEqual({ state: 'as it came' });
    await store.close();
  });

  it('does so too while others wait that came before it was open', async () => {
    const { promise, resolve } = Promise.withResolvers<Store>();
    const sink = new StoreSink({ store: promise, faults: new FaultCounter() });
    const early = aTrajectory({});
    sink.accept(early);
    const store = await openSqliteStore({ folder: await freshFolder() });
    resolve(store);
    await promise;
    expect(await storedOfWhatChanges(sink, store)).toEqual({ state: 'as it came' });
    expect(sink.counters()).toMatchObject({ accepted: 2, stored: 2, queued: 0, queuedBytes: 0 });
    await store.close();
  });

  it('counts what does not fit into the queue', async () => {
    const store = openSqliteStore({ folder: await freshFolder() });
    const sink = new StoreSink({ store, faults: new FaultCounter(), maxQueued: 10 });
    for (let count = 0; count < 25; count += 1) sink.accept(aTrajectory({}));
    await sink.flush({ timeoutMs: 10_000 });
    expect(sink.counters()).toMatchObject({
      accepted: 25,
      stored: 10,
      dropped: { 'queue-full': 15 },
      queued: 0,
      queuedBytes: 0,
    });
    await (await store).close();
  });

  it('leaves out an invalid trajectory and stores those beside it', async () => {
    const store = openSqliteStore({ folder: await freshFolder() });
    const sink = new StoreSink({ store, faults: new FaultCounter() });
    const unsendable = aTrajectory({ metadata: { f: (() => 1) as never } });
    const wrong = aTrajectory({ metadata: { f: Number.NaN } });
    for (const one of [aTrajectory({}), unsendable, aTrajectory({}), wrong, aTrajectory({})])
      sink.accept(one);
    await sink.flush({ timeoutMs: 10_000 });
    expect(sink.counters()).toMatchObject({
      accepted: 5,
      stored: 3,
      dropped: { invalid: 2 },
      queuedBytes: 0,
    });
    await (await store).close();
  });

  it('holds what a full disk refuses and writes it once there is room', async () => {
    const real = await openSqliteStore({ folder: await freshFolder() });
    let full = true;
    const store: Store = {
      ...real,
      appendPrepared: (prepared) =>
        full
          ? Promise.reject(new StoreError('The disk is full.', { fix: 'Free some space.', retryable: true }))
          : real.appendPrepared(prepared),
    };
    const sink = new StoreSink({ store: Promise.resolve(store), faults: new FaultCounter(), retryMs: 20 });
    for (let count = 0; count < 5; count += 1) sink.accept(aTrajectory({}));
    expect(await sink.flush({ timeoutMs: 100 })).toEqual({ complete: false });
    expect(sink.counters()).toMatchObject({ stored: 0, queued: 5, dropped: {} });
    full = false;
    expect(await sink.flush({ timeoutMs: 5000 })).toEqual({ complete: true });
    expect(sink.counters()).toMatchObject({ stored: 5, queued: 0, queuedBytes: 0, dropped: {} });
    expect(await real.count({})).toBe(5);
    await real.close();
  });

  it('hands over together what comes in turns of their own', async () => {
    const { store, portions } = await watchedStore();
    const sink = new StoreSink({ store: Promise.resolve(store), faults: new FaultCounter() });
    for (let count = 0; count < 1000; count += 1) {
      sink.accept(aTrajectory({}));
      await turn();
    }
    await sink.flush({ timeoutMs: 10_000 });
    expect(portions.reduce((total, length) => total + length, 0)).toBe(1000);
    // Sixteen, where nothing holds the machine up for longer than it waits for company.
    expect(portions.length).toBeLessThan(100);
    await store.close();
  });

  it('hands over a full portion at once, though not in the turn of who hands it the last', async () => {
    const { store, portions } = await watchedStore();
    const sink = new StoreSink({ store: Promise.resolve(store), faults: new FaultCounter() });
    await turn();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    sink.accept(aTrajectory({}));
    await turn();
    for (let count = 1; count < 64; count += 1) sink.accept(aTrajectory({}));
    // After all microtasks, and before the next turn.
    await new Promise((resolve) => {
      process.nextTick(resolve);
    });
    expect(portions).toEqual([]);
    await turn();
    await turn();
    expect(portions).toEqual([64]);
    vi.useRealTimers();
    await store.flush();
    await sink.close();
    await store.close();
  });

  it('has flushed once the store has taken all that was handed over', async () => {
    const { store, portions } = await watchedStore();
    const { promise: taken, resolve: take } = Promise.withResolvers<undefined>();
    const slow: Store = { ...store, appendPrepared: (all) => taken.then(() => store.appendPrepared(all)) };
    const sink = new StoreSink({ store: Promise.resolve(slow), faults: new FaultCounter() });
    sink.accept(aTrajectory({}));
    expect(await sink.flush({ timeoutMs: 100 })).toEqual({ complete: false });
    take(undefined);
    expect(await sink.flush({ timeoutMs: 10_000 })).toEqual({ complete: true });
    expect(portions).toEqual([1]);
    await store.close();
  });

  it('writes rewards while trajectories keep coming', async () => {
    const store = await openSqliteStore({ folder: await freshFolder() });
    let accepted = Infinity;
    const watched: Store = {
      ...store,
      reward: (rewards) => {
        ({ accepted } = sink.counters());
        return store.reward(rewards);
      },
    };
    const sink = new StoreSink({ store: Promise.resolve(watched), faults: new FaultCounter() });
    await turn();
    sink.reward(aReward(aTrajectory({}).id, 1));
    for (let count = 0; count < 1000; count += 1) {
      sink.accept(aTrajectory({}));
      await turn();
    }
    expect(accepted).toBeLessThan(1000);
    await sink.close();
    await store.close();
  });

  it('counts everything that a store which cannot be opened would have held, and the host goes on', async () => {
    const apprentice = createApprentice({ project: 'p', name: 'n', folder: '/dev/null/nowhere' });
    expect(await apprentice.run({}, () => Promise.resolve('the answer'))).toBe('the answer');
    apprentice.recorder.finishAll();
    await apprentice.flush();
    await expect(apprentice.status()).rejects.toThrow(/cannot be made/);
    await apprentice.close();
  });
});

/** A store, and how many trajectories it was handed each time. */
async function watchedStore(): Promise<{ store: Store; portions: number[] }> {
  const real = await openSqliteStore({ folder: await freshFolder() });
  const portions: number[] = [];
  const appendPrepared: Store['appendPrepared'] = (prepared) => {
    portions.push(prepared.length);
    return real.appendPrepared(prepared);
  };
  return { store: { ...real, appendPrepared }, portions };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What the store has of metadata that changes right after it was handed over. */
async function storedOfWhatChanges(sink: StoreSink, store: Store): Promise<unknown> {
  const metadata = { state: 'as it came' };
  const trajectory = aTrajectory({ metadata });
  sink.accept(trajectory);
  metadata.state = 'changed';
  await sink.flush({ timeoutMs: 10_000 });
  return (await store.get(trajectory.id))?.trajectory.metadata;
}
