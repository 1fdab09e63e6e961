import { describe, expect, it, vi } from 'vitest';
import type { Trajectory } from '../trajectory/records.ts';
import type { CallStart } from './capture.ts';
import { FaultCounter } from './faults.ts';
import { Later } from './later.ts';
import { Recorder } from './recorder.ts';
import { recordOnly } from './route.ts';

function setUp(graceMs = 5, abandonAfterMs = 60_000) {
  const finished: Trajectory[] = [];
  const faults = new FaultCounter();
  const sink = {
    accept: (trajectory: Trajectory) => finished.push(trajectory),
    reward: () => undefined,
    flush: () => Promise.resolve({ complete: true }),
    counters: () => ({ accepted: 0, stored: 0, dropped: {}, queued: 0, queuedBytes: 0, faults: {} }),
    close: () => Promise.resolve(),
  };
  const shared = { project: 'p', name: 'n', sink, router: recordOnly, faults };
  const later = new Later({ lingerMs: 5, sliceMs: 1 });
  const recorder = new Recorder({ ...shared, graceMs, abandonAfterMs, later });
  return { recorder, finished, faults };
}

const call: CallStart = {
  adapter: 'test',
  requestedModel: 'm',
  answerer: { kind: 'incumbent', fallback: false },
  prompt: [],
  messages: () => [{ role: 'user', content: 'hello' }],
  tools: () => [],
  parameters: () => ({}),
  streamed: false,
};

const ended = { status: 'ok' } as const;

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('Recorder', () => {
  it('gives back what the agent gives back, at once', () => {
    expect(setUp().recorder.run({}, () => 7)).toBe(7);
  });

  it('closes a run that nothing bounds some time after its last call, also where no call comes', async () => {
    const { recorder, finished } = setUp();
    const ended: string[] = [];
    const linger = { lingerMs: () => 20, onFinished: (run: { id: string }) => ended.push(run.id) };
    const empty = recorder.startLingeringRun({}, linger);
    const run = recorder.startLingeringRun({ threadId: 't' }, linger);
    const first = run.startCall(call);
    await pause(40);
    expect(finished.map(({ id }) => id)).toEqual([empty.id]);
    first.end({ status: 'ok' });
    const second = run.startCall(call);
    await pause(40);
    second.end({ status: 'ok' });
    expect(run.isFinished).toBe(false);
    await expect.poll(() => run.isFinished).toBe(true);
    expect(finished.at(-1)).toMatchObject({
      threadId: 't',
      outcome: { status: 'finished' },
      events: [{}, {}],
    });
    expect(ended).toEqual([empty.id, run.id]);
  });

  it('leaves no timer behind that would hold a finished run in memory', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
    try {
      const { recorder } = setUp();
      for (let count = 0; count < 5; count += 1) await recorder.run({}, () => Promise.resolve());
      expect(vi.getTimerCount()).toBeGreaterThan(0);
      recorder.finishAll();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('keeps a run open while a call is in flight after its function has returned', async () => {
    const { recorder, finished } = setUp();
    const open = recorder.run({ scenario: 's' }, () => recorder.current()?.startCall(call));
    await pause(30);
    expect(finished).toEqual([]);
    open?.end({ status: 'ok' });
    await pause(30);
    expect(finished).toMatchObject([{ scenario: 's', outcome: { status: 'finished' } }]);
  });

  it('closes a run soon whose agent has awaited its calls', async () => {
    const { recorder, finished } = setUp(60_000);
    await recorder.run({}, async () => {
      recorder.current()?.startCall(call).end(ended);
      await Promise.resolve();
    });
    recorder.settle();
    expect(finished).toHaveLength(1);
  });

  it.each([
    ['whose last answer asks for a tool', { finishReason: 'tool-calls' }, undefined],
    ['that gives back a stream', {}, { textStream: new ReadableStream() }],
  ])('waits for further calls of an agent %s', async (_, answer, result) => {
    const { recorder, finished } = setUp(50);
    let goOn: (() => void) | undefined;
    await recorder.run({}, async () => {
      recorder
        .current()
        ?.startCall(call)
        .end(ended, () => answer);
      setTimeout(() => goOn?.(), 10);
      goOn = () => recorder.current()?.startCall(call).end(ended);
      await Promise.resolve();
      return result;
    });
    await pause(30);
    expect(finished).toEqual([]);
    await pause(60);
    expect(finished.map((one) => one.events.length)).toEqual([2]);
  });

  it('records a call that comes after the end of its run as a child of it', async () => {
    const { recorder, finished } = setUp(5);
    const late = await recorder.run({}, async () => {
      recorder.current()?.startCall(call).end(ended);
      await Promise.resolve();
      const laterCall = async () => {
        await pause(30);
        recorder.startLoneRun().startCall(call).end(ended);
      };
      return { call: laterCall() };
    });
    await late.call;
    recorder.settle();
    const [first, second] = finished;
    expect(finished).toHaveLength(2);
    expect(second).toMatchObject({ parentId: first?.id, events: [{ outcome: { status: 'ok' } }] });
  });

  it('abandons a run that has been without a call for long', async () => {
    const { recorder, finished } = setUp(5, 20);
    const open = recorder.run({}, () => recorder.current()?.startCall(call));
    await pause(60);
    expect(finished).toMatchObject([{ outcome: { status: 'abandoned' } }]);
    open?.end(ended);
    expect(finished).toHaveLength(1);
  });

  it('makes a run inside another its child, on the same policy', async () => {
    const { recorder, finished } = setUp();
    await recorder.run({ scenario: 'outer' }, async () => {
      recorder.current()?.startCall(call).end({ status: 'ok' });
      await recorder.run({ scenario: 'inner' }, () => Promise.resolve());
      await pause(20);
    });
    await pause(30);
    const [inner, outer] = finished;
    expect(inner).toMatchObject({ scenario: 'inner', parentId: outer?.id });
    expect(inner?.parentCallId).toBe(
      outer?.events[0]?.kind === 'model-call' ? outer.events[0].id : undefined,
    );
  });

  it('records what is known of a call that never ended', () => {
    const { recorder, finished } = setUp();
    const run = recorder.startRun();
    run.startCall(call).partial(() => ({ message: () => ({ role: 'assistant', content: 'so far' }) }));
    recorder.finishAll();
    expect(finished[0]?.events[0]).toMatchObject({
      outcome: { status: 'abandoned' },
      response: { message: { content: 'so far' } },
    });
  });

  it('leaves out a call that cannot even be named, counts it, and keeps the others', () => {
    const { recorder, finished, faults } = setUp();
    const run = recorder.startRun();
    const nameless: CallStart = {
      ...call,
      get requestedModel(): string {
        throw new Error('no name');
      },
    };
    for (const start of [call, nameless, call]) run.startCall(start).end({ status: 'ok' });
    run.finish();
    expect(finished[0]?.events.map((event) => event.index)).toEqual([0, 1]);
    expect(faults.counts()).toEqual({ 'recording a call': 1 });
  });

  it('counts a fault of its own and goes on', () => {
    const { recorder, finished, faults } = setUp();
    const run = recorder.startRun();
    const broken = () => {
      throw new Error('cannot be read');
    };
    run.startCall({ ...call, messages: broken }).end({ status: 'ok' }, () => ({ message: broken }));
    run.startCall(call).end({ status: 'ok' }, broken);
    run.finish();
    expect(finished[0]?.events[0]).toMatchObject({ request: { messages: [] }, response: { message: null } });
    expect(faults.counts()).toEqual({
      'reading the messages of a call': 1,
      'reading the answer of a call': 1,
      'reading an answer': 1,
    });
  });

  it('closes where what its agent throws, or gives back, cannot be read', async () => {
    const { recorder, finished, faults } = setUp();
    const thrown: unknown = Object.create(null);
    await expect(recorder.run({}, () => Promise.reject(thrown as Error))).rejects.toBe(thrown);
    const hostile = {
      get output(): string {
        throw new Error('no output');
      },
    };
    const answered = recorder.run({}, async () => {
      recorder.current()?.startCall(call).end(ended);
      return Promise.resolve(hostile);
    });
    expect(await answered).toBe(hostile);
    await vi.waitFor(() => {
      expect(finished.map(({ outcome }) => outcome)).toEqual([
        { status: 'failed', error: { name: 'Error', message: 'What was thrown cannot be read as text.' } },
        { status: 'finished' },
      ]);
    });
    expect(faults.counts()).toEqual({ 'looking at what an agent gave back': 1 });
  });

  it('fails with its agent, and says so on record', async () => {
    const { recorder, finished } = setUp();
    await expect(recorder.run({}, () => Promise.reject(new TypeError('no')))).rejects.toThrow('no');
    await pause(30);
    expect(finished[0]?.outcome).toEqual({ status: 'failed', error: { name: 'TypeError', message: 'no' } });
  });
});
