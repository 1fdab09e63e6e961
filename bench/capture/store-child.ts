/** How many rows a second become durable, and how long the host's event loop is held up meanwhile. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { FaultCounter } from '../../src/capture/faults.ts';
import { StoreSink } from '../../src/capture/sink.ts';
import { toCompact } from '../../src/store/encoding.ts';
import { openSqliteStore } from '../../src/store/sqlite/index.ts';
import { timeOrderedId, type ModelCallId, type TrajectoryId } from '../../src/trajectory/ids.ts';
import type { Message, ModelCall, Trajectory } from '../../src/trajectory/records.ts';
import { median, quantile, round } from '../statistics.ts';
import { prose } from '../words.ts';

export interface StoreFigures {
  /** One trajectory as JSON, each history once. */
  readonly bytesPerRow: number;
  /** From the first row handed over until all of them were durable. */
  readonly rowsPerSecond: number;
  /** An 8 KB append with fdatasync on the same disk: the floor under every durable write. */
  readonly fdatasyncP50Ms: number;
  /** Event-loop delay beyond the timer's own millisecond, while rows are written at full speed. */
  readonly loopDelayP99Ms: number;
  readonly loopDelayMaxMs: number;
  /** The same with nothing to do. */
  readonly idleLoopDelayP99Ms: number;
  /** From handing over a lone row until it is durable. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly dropped: Readonly<Record<string, number>>;
}

/** Made beforehand: making their text would hold the loop up, and holding all of them would keep the collector busy. */
const distinctRows = 1000;

/** Rows come as fast as the store takes them: a backlog that grows would measure the collector. */
const outstanding = 500;
const perTurn = 8;
/** Rows until the code is compiled, written as those that are measured. */
const warmUp = 30_000;

/** Measures the store behind its sink, on a fresh file in the temporary folder. */
export async function benchStore(rows: number): Promise<StoreFigures> {
  const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
  const store = await openSqliteStore({ folder });
  try {
    const fdatasyncP50Ms = await fdatasyncMedian(join(folder, 'raw'));
    const sink = new StoreSink({
      store: Promise.resolve(store),
      faults: new FaultCounter(),
      maxQueued: 2 * outstanding,
    });
    const made = Array.from({ length: distinctRows }, () => agentRun());
    await write(sink, made, warmUp);
    const idle = await loopDelay(() => sleep(1000));

    let seconds = 0;
    const full = await loopDelay(async () => {
      const began = performance.now();
      await write(sink, made, rows);
      seconds = (performance.now() - began) / 1000;
    });
    const { dropped } = sink.counters();

    const acks: number[] = [];
    for (let count = 0; count < 200; count += 1) {
      const began = performance.now();
      await store.append([agentRun()]);
      acks.push(performance.now() - began);
    }
    await sink.close();
    return {
      bytesPerRow: JSON.stringify(toCompact(agentRun())).length,
      rowsPerSecond: Math.round(rows / seconds),
      fdatasyncP50Ms,
      loopDelayP99Ms: full.p99,
      loopDelayMaxMs: full.max,
      idleLoopDelayP99Ms: idle.p99,
      ackP50Ms: round(quantile(acks, 0.5)),
      ackP99Ms: round(quantile(acks, 0.99)),
      dropped,
    };
  } finally {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function write(sink: StoreSink, made: readonly Trajectory[], rows: number): Promise<void> {
  for (let at = 0; at < rows; at += perTurn) {
    for (let next = at; next < Math.min(rows, at + perTurn); next += 1) sink.accept(another(made, next));
    await new Promise((resolve) => setImmediate(resolve));
    while (sink.counters().queued > outstanding) await sleep(1);
  }
  await sink.flush({ timeoutMs: 120_000 });
}

/** Three calls of an agent with a long system prompt, two tool results and sampled tokens: 9 KB or so. */
export function agentRun(): Trajectory {
  const messages: Message[] = [
    { role: 'system', content: prose(1500) },
    { role: 'user', content: prose(300) },
  ];
  return record(3, messages, 1000, 32);
}

function record(calls: number, start: readonly Message[], resultLength: number, tokens: number): Trajectory {
  const messages = [...start];
  const ids: number[] = Array.from({ length: 60 }, (_, index) => (index * 7919) % 50_000);
  const events = Array.from({ length: calls }, (_, index): ModelCall => {
    const completionIds = Array.from({ length: tokens }, (_, at) => (at * 104_729 + index) % 50_000);
    const promptIds = [...ids];
    const answer = { role: 'assistant', content: prose(200) };
    const call: ModelCall = {
      kind: 'model-call',
      id: randomUUID() as ModelCallId,
      index,
      adapter: 'ai-sdk',
      served: { requestedModel: 'model', policy: 'bench@1', propensity: 1 },
      request: { messages: [...messages], tools: [], parameters: { temperature: 1 } },
      response: { id: randomUUID(), message: answer, usage: { outputTokens: tokens } },
      tokens: {
        promptIds,
        completionIds,
        logprobs: completionIds.map(() => -Math.random()),
        logprobsMode: 'raw',
      },
      trainability: { trainable: true },
      outcome: { status: 'ok' },
      streamed: false,
      startedAt: Date.now(),
      endedAt: Date.now(),
    };
    ids.push(...completionIds);
    messages.push(answer, { role: 'tool', tool_call_id: randomUUID(), content: prose(resultLength) });
    return call;
  });
  return {
    recordVersion: 1,
    id: timeOrderedId() as TrajectoryId,
    project: 'bench',
    name: 'bench',
    scenario: null,
    groupId: null,
    split: 'production',
    threadId: randomUUID(),
    messageId: null,
    policy: 'bench@1',
    step: 1,
    outcome: { status: 'finished' },
    events,
    metadata: {},
    metrics: {},
    startedAt: Date.now(),
    endedAt: Date.now(),
  };
}

/** The next of `made` in turn, under ids of its own. */
export function another(made: readonly Trajectory[], index: number): Trajectory {
  const one = made[index % made.length];
  if (one === undefined) throw new RangeError('There are no rows.');
  const events = one.events.map((event) =>
    event.kind === 'model-call' ? { ...event, response: { ...event.response, id: randomUUID() } } : event,
  );
  return { ...one, id: timeOrderedId() as TrajectoryId, threadId: randomUUID(), events };
}

async function fdatasyncMedian(path: string): Promise<number> {
  const file = await open(path, 'a');
  const page = Buffer.alloc(8192, 1);
  const times: number[] = [];
  for (let count = 0; count < 100; count += 1) {
    const began = performance.now();
    await file.write(page);
    await file.datasync();
    times.push(performance.now() - began);
  }
  await file.close();
  return round(median(times));
}

async function loopDelay(work: () => Promise<unknown>): Promise<{ p99: number; max: number }> {
  const resolution = 1;
  const histogram = monitorEventLoopDelay({ resolution });
  histogram.enable();
  await work();
  histogram.disable();
  const beyond = (nanoseconds: number): number => round(Math.max(0, nanoseconds / 1e6 - resolution));
  return { p99: beyond(histogram.percentile(99)), max: beyond(histogram.max) };
}

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
