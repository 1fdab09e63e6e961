import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdapterRef, Backend, RunningBackend } from './backends/backend.ts';
import { createApprentice, type Apprentice } from './apprentice.ts';
import type { CallStart } from './capture/capture.ts';
import { openSqliteStore } from './store/sqlite/index.ts';

/** Serves what it is told to; trains nothing. */
function backendWith(adapters: readonly AdapterRef[], published: number[]): Backend {
  const running: Partial<RunningBackend> = {
    adapters: () => Promise.resolve(adapters),
    publish: ({ step }) => {
      published.push(step);
      return Promise.resolve({ against: 'trainer', tokens: 1, meanGap: 0, maxGap: 0, baseGap: 1 });
    },
    close: () => Promise.resolve(),
  };
  return {
    kind: 'local',
    validate: () => undefined,
    start: () => Promise.resolve(running as RunningBackend),
  };
}

async function apprenticeWith(
  adapters: readonly AdapterRef[],
  published: number[] = [],
): Promise<Apprentice> {
  const folder = await mkdtemp(join(tmpdir(), 'apprentice-test-'));
  return createApprentice({
    project: 'test',
    name: 'agent',
    baseModel: 'base',
    backend: backendWith(adapters, published),
    store: await openSqliteStore({ folder }),
    folder,
  });
}

const call: CallStart = {
  adapter: 'test',
  requestedModel: 'm',
  answerer: { kind: 'incumbent', fallback: false },
  prompt: [],
  messages: () => [],
  tools: () => [],
  parameters: () => ({}),
  streamed: false,
};

const adapter = (step: number): AdapterRef => ({ name: 'agent', step, location: 'f', version: 'd' });

describe('serve', () => {
  it('lets the newest step answer runs that begin, and runs under way finish as they began', async () => {
    const published: number[] = [];
    const apprentice = await apprenticeWith([adapter(1), adapter(2)], published);
    const before = apprentice.recorder.startRun();
    expect(await apprentice.serve()).toBe('agent@2');
    expect(published).toEqual([2]);
    expect(before.policy).toBeNull();
    const served = apprentice.recorder.startRun();
    expect(served.route).toMatchObject({ policy: 'agent@2', step: 2, onFailure: 'incumbent' });
    apprentice.serveIncumbent();
    expect(apprentice.recorder.startRun().policy).toBeNull();
    await apprentice.close();
  });

  it('says what to do where nothing has been trained', async () => {
    const apprentice = await apprenticeWith([]);
    await expect(apprentice.serve()).rejects.toThrow(
      /Option "name" must be .* has been trained.*Train at least one/,
    );
    await apprentice.close();
  });
});

describe('flush', () => {
  it('writes the run that has just ended', async () => {
    const apprentice = await apprenticeWith([]);
    await apprentice.run({ threadId: 'thread' }, async () => {
      apprentice.recorder.current()?.startCall(call).end({ status: 'ok' });
      await Promise.resolve();
    });
    expect(await apprentice.flush()).toEqual({ complete: true });
    expect(await (await apprentice.store()).count({ threadId: 'thread' })).toBe(1);
    await apprentice.close();
  });
});

describe('close', () => {
  it('can be called again', async () => {
    const apprentice = await apprenticeWith([]);
    await Promise.all([apprentice.close(), apprentice.close()]);
    await expect(apprentice.close()).resolves.toBeUndefined();
  });
});
