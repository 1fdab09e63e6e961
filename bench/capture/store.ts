/**
 * How many rows a second become durable, and how long the host's event loop is held up meanwhile.
 * `node --conditions=apprentice-source bench/capture/store.ts` prints its figures as JSON.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { FaultCounter } from '../../src/capture/faults.ts';
import { StoreSink } from '../../src/capture/sink.ts';
import { openSqliteStore } from '../../src/store/sqlite/index.ts';
import type { ModelCallId, TrajectoryId } from '../../src/trajectory/ids.ts';
import type { Message, ModelCall, Trajectory } from '../../src/trajectory/records.ts';

export interface StoreBenchOptions {
  /** Trajectories written at full speed. Default: 20 000. */
  readonly rows?: number;
  /** Trajectories a second in the paced part. Default: 200. */
  readonly pacedRate?: number;
  /** Default: 3. */
  readonly pacedSeconds?: number;
}

export interface StoreBenchResult {
  /** Size of one trajectory as JSON, without any saving. */
  readonly bytesPerRow: number;
  /** From the first row handed over until all of them were durable. */
  readonly rowsPerSecond: number;
  /** An 8 KB append with fdatasync on the same disk: the floor under every durable write. */
  readonly fdatasyncP50Ms: number;
  /** Event-loop delay beyond the timer's own millisecond, at full speed. */
  readonly loopDelayP99Ms: number;
  readonly loopDelayMaxMs: number;
  /** The same while trajectories come at the paced rate, and with nothing to do at all. */
  readonly pacedLoopDelayP99Ms: number;
  readonly idleLoopDelayP99Ms: number;
  /** From handing over a lone trajectory until it is durable. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  /** File size over the unique content of a 20-call run whose history grows; 1 is the ideal. */
  readonly bytesOverUnique: number;
  readonly dropped: Readonly<Record<string, number>>;
}

/** Measures the store with its sink, on a fresh file in the temporary folder. */
export async function benchStore(options: StoreBenchOptions = {}): Promise<StoreBenchResult> {
  const { rows = 20_000, pacedRate = 200, pacedSeconds = 3 } = options;
  const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
  try {
    const fdatasyncP50Ms = await fdatasyncMedian(join(folder, 'raw'));
    const store = await openSqliteStore({ folder });
    const sink = new StoreSink({
      store: Promise.resolve(store),
      faults: new FaultCounter(),
      maxQueued: rows,
    });
    for (let count = 0; count < 500; count += 1) sink.accept(agentRun());
    await sink.flush({ timeoutMs: 60_000 });
    const idle = await loopDelay(() => sleep(1000));

    let seconds = 0;
    const made = Array.from({ length: rows }, () => agentRun());
    const full = await loopDelay(async () => {
      const began = performance.now();
      for (let at = 0; at < rows; at += 32) {
        for (const one of made.slice(at, at + 32)) sink.accept(one);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await sink.flush({ timeoutMs: 120_000 });
      seconds = (performance.now() - began) / 1000;
    });

    const paced = await loopDelay(async () => {
      for (let tick = 0; tick < pacedSeconds * 100; tick += 1) {
        for (let count = 0; count < pacedRate / 100; count += 1) sink.accept(agentRun());
        await sleep(10);
      }
    });
    await sink.flush({ timeoutMs: 60_000 });

    const acks: number[] = [];
    for (let count = 0; count < 200; count += 1) {
      const began = performance.now();
      await store.append([agentRun()]);
      acks.push(performance.now() - began);
    }
    const { dropped } = sink.counters();
    await sink.close();
    await store.close();
    return {
      bytesPerRow: JSON.stringify(agentRun()).length,
      rowsPerSecond: Math.round(rows / seconds),
      fdatasyncP50Ms,
      loopDelayP99Ms: full.p99,
      loopDelayMaxMs: full.max,
      pacedLoopDelayP99Ms: paced.p99,
      idleLoopDelayP99Ms: idle.p99,
      ackP50Ms: quantile(acks, 0.5),
      ackP99Ms: quantile(acks, 0.99),
      bytesOverUnique: await bytesOverUnique(folder),
      dropped,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Three calls of an agent with a long system prompt, two tool results and sampled tokens: 9 KB or so. */
function agentRun(): Trajectory {
  const messages: Message[] = [
    { role: 'system', content: text(1500) },
    { role: 'user', content: text(300) },
  ];
  return record(3, messages, 1000, 40);
}

function record(calls: number, start: readonly Message[], resultLength: number, tokens: number): Trajectory {
  const messages = [...start];
  const ids: number[] = Array.from({ length: 60 }, (_, index) => (index * 7919) % 50_000);
  const events = Array.from({ length: calls }, (_, index): ModelCall => {
    const completionIds = Array.from({ length: tokens }, (_, at) => (at * 104_729 + index) % 50_000);
    const promptIds = [...ids];
    const answer = { role: 'assistant', content: text(200) };
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
    messages.push(answer, { role: 'tool', tool_call_id: randomUUID(), content: text(resultLength) });
    return call;
  });
  return {
    recordVersion: 1,
    id: randomUUID() as TrajectoryId,
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

async function bytesOverUnique(folder: string): Promise<number> {
  const runs = 200;
  const store = await openSqliteStore({ folder: join(folder, 'unique') });
  const before = await store.stats();
  let unique = 0;
  for (let count = 0; count < runs; count += 1) {
    const run = record(20, [{ role: 'user', content: text(1500) }], 1000, 40);
    const last = run.events.at(-1);
    if (last?.kind !== 'model-call' || last.tokens === null) throw new Error('The last event is no call.');
    unique += Buffer.byteLength(JSON.stringify(last.request.messages)) + JSON.stringify(last.tokens).length;
    const logprobs = run.events.map((event) => (event.kind === 'model-call' ? event.tokens?.logprobs : []));
    unique += JSON.stringify(logprobs).length;
    await store.append([run]);
  }
  const after = await store.stats();
  await store.close();
  return (after.bytes - before.bytes) / unique;
}

const words = 'the order was sent on monday and has not come yet so please look where it is now '.repeat(60);

/** Fresh strings, so that nothing is shared by accident. */
function text(length: number): string {
  return `${randomUUID()} ${words.slice(0, length - 37)}`;
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
  return quantile(times, 0.5);
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

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0);
}

const round = (value: number): number => Math.round(value * 1000) / 1000;
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchStore(), undefined, 2)}\n`);
