/** Nothing is lost silently: every trajectory is stored or counted. */
import { describe, expect, it } from 'vitest';
import { FaultCounter } from '../src/capture/faults.ts';
import { StoreSink } from '../src/capture/sink.ts';
import { createApprentice, openSqliteStore } from '../src/index.ts';
import { aTrajectory } from '../src/testing/records.ts';
import { freshFolder } from './recording.ts';

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

  it('counts everything that a store which cannot be opened would have held, and the host goes on', async () => {
    const apprentice = createApprentice({ project: 'p', name: 'n', folder: '/dev/null/nowhere' });
    expect(await apprentice.run({}, () => Promise.resolve('the answer'))).toBe('the answer');
    apprentice.recorder.finishAll();
    await apprentice.flush();
    await expect(apprentice.status()).rejects.toThrow(/cannot be made/);
    await apprentice.close();
  });
});
