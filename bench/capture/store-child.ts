/** Writes rows as fast as the store takes them, and measures. Prints JSON. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FaultCounter } from '../../src/capture/faults.ts';
import { StoreSink } from '../../src/capture/sink.ts';
import { openSqliteStore } from '../../src/store/sqlite/index.ts';
import type { Trajectory } from '../../src/trajectory/records.ts';
import { median, quantile, round } from '../statistics.ts';
import { loopDelay, type LoopDelay } from './loop-delay.ts';
import { agentRun, jsonBytes, runContent } from './rows.ts';

export interface StoreFigures {
  /** One trajectory as JSON, each history once. */
  readonly bytesPerRow: number;
  /** An 8 KB append with fdatasync on the same disk: the floor under every durable write. */
  readonly fdatasyncP50Ms: number;
  readonly idle: LoopDelay;
  /** As fast as the store takes them: both it and the host work without a pause. */
  readonly fullSpeed: Written;
  /** At the pace of a host that hands over so many. */
  readonly paced: Written;
  /** From handing over a lone row until it is durable. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly dropped: number;
}

export interface Written {
  /** From the first row handed over until all of them were durable. */
  readonly rowsPerSecond: number;
  readonly loopDelay: LoopDelay;
}

/** Held beforehand: making texts would hold the loop up. */
const distinctRows = 1000;
/** At full speed: a backlog that grows would measure the collector. */
const outstanding = 500;
/** Rows a second: a fifth more than a host may ask for. */
const pace = 12_000;
/** Rows until the code is compiled. */
const warmUp = 50_000;

const rows = Number(process.argv[2]);
const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
const store = await openSqliteStore({ folder });
const sink = new StoreSink({ store: Promise.resolve(store), faults: new FaultCounter() });
const contents = Array.from({ length: distinctRows }, runContent);

const fdatasyncP50Ms = await fdatasyncMedian(join(folder, 'raw'));
// Before the others: after a rest, what is used again is compiled anew.
const idle = await loopDelay(() => sleep(1000));
await write(warmUp, atFullSpeed);
const fullSpeed = await measured(atFullSpeed);
const paced = await measured(atPace);
const dropped = Object.values(sink.counters().dropped).reduce((total, count) => total + count, 0);
const acks = await timesToDurable(200);
await sink.close();
await store.close();
await rm(folder, { recursive: true, force: true });

const figures: StoreFigures = {
  bytesPerRow: jsonBytes(runContent()),
  fdatasyncP50Ms,
  idle,
  fullSpeed,
  paced,
  ackP50Ms: round(quantile(acks, 0.5)),
  ackP99Ms: round(quantile(acks, 0.99)),
  dropped,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);

/** Called where writing begins; what it gives says whether another row may come after `written` of them. */
type Pacing = () => (written: number) => boolean;

function atFullSpeed(): ReturnType<Pacing> {
  return () => sink.counters().queued <= outstanding;
}

function atPace(): ReturnType<Pacing> {
  const began = performance.now();
  return (written) => written <= ((performance.now() - began) / 1000) * pace;
}

async function measured(pacing: Pacing): Promise<Written> {
  let seconds = 0;
  const delay = await loopDelay(async () => {
    const began = performance.now();
    await write(rows, pacing);
    seconds = (performance.now() - began) / 1000;
  });
  return { rowsPerSecond: Math.round(rows / seconds), loopDelay: delay };
}

async function write(count: number, pacing: Pacing): Promise<void> {
  const mayGoOn = pacing();
  for (let at = 0; at < count; at += 1) {
    while (!mayGoOn(at)) await sleep(1);
    sink.accept(row(at));
    // Each run of a host ends in a turn of its own: with an answer that has come.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await sink.flush({ timeoutMs: 120_000 });
}

function row(index: number): Trajectory {
  const content = contents[index % contents.length];
  if (content === undefined) throw new RangeError('There are no rows.');
  return agentRun(content);
}

/** Milliseconds from handing over a lone row until it is durable. */
async function timesToDurable(count: number): Promise<number[]> {
  const times: number[] = [];
  for (let at = 0; at < count; at += 1) {
    const one = row(at);
    const began = performance.now();
    await store.append([one]);
    times.push(performance.now() - began);
  }
  return times;
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

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
