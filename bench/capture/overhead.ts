/**
 * What recording adds to an AI SDK call, beside Langfuse. A process for each variant; they take turns of a
 * fraction of a second, and those of one round are compared: a machine with neighbours changes its speed within seconds.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { median, quantile, round } from '../statistics.ts';
import type { Mode } from './agent.ts';
import type { Slice, Timings, Variant } from './overhead-child.ts';

const variants: readonly Variant[] = ['bare', 'apprentice', 'langfuse'];
const modes: readonly Mode[] = ['generate', 'stream'];

// Until the code is compiled and the store's thread has started: what is asked for is the cost in a process that lives.
const warmUps = 2000;
/** A twentieth of a second or so. */
const runsPerTurn = { generate: 100, stream: 40 } as const;

/** Microseconds for each model call: of the bare agent, and how many more the others take. */
export interface Extra {
  readonly bare: number;
  readonly apprentice: number;
  readonly langfuse: number;
  readonly ratio: number;
}

export type Overhead = Readonly<Record<Mode, Readonly<Record<'p50' | 'p99' | 'cpu', Extra>>>>;

type Round = Readonly<Record<Variant, Timings>>;

export async function benchOverhead(rounds: number, onProgress: (line: string) => void): Promise<Overhead> {
  const server = fork(file('null-server.ts'));
  const children: ChildProcess[] = [];
  try {
    const [{ port }] = (await once(server, 'message')) as [{ port: number }];
    const started: [Variant, ChildProcess][] = [];
    for (const variant of variants) {
      const child = fork(file('overhead-child.ts'), [variant, `http://127.0.0.1:${String(port)}`], {
        env: { ...process.env, LANGFUSE_TRACING_ENVIRONMENT: 'bench' },
      });
      children.push(child);
      await nextMessage(child);
      started.push([variant, child]);
    }
    for (const mode of modes) {
      onProgress(`overhead, ${mode}: warming up`);
      for (const [, child] of started) await turn(child, { mode, runs: warmUps });
    }
    const found: Record<Mode, Round[]> = { generate: [], stream: [] };
    for (let at = 1; at <= rounds; at += 1) {
      onProgress(`overhead ${String(at)}/${String(rounds)}`);
      for (const mode of modes) {
        const round: [Variant, Timings][] = [];
        for (const [variant, child] of started)
          round.push([variant, await turn(child, { mode, runs: runsPerTurn[mode] })]);
        found[mode].push(Object.fromEntries(round) as Round);
      }
      started.push(...started.splice(0, 1)); // another one begins the next round
    }
    return { generate: summaryOf(found.generate), stream: summaryOf(found.stream) };
  } finally {
    // Those that export end before the server that they export to.
    for (const child of [...children, server]) await end(child);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  if (child.connected) child.disconnect();
  await ended;
}

function file(name: string): string {
  return new URL(`./${name}`, import.meta.url).pathname;
}

async function turn(child: ChildProcess, slice: Slice): Promise<Timings> {
  const answered = nextMessage(child);
  child.send(slice);
  return (await answered) as Timings;
}

/** Rejects where the child ends instead. */
async function nextMessage(child: ChildProcess): Promise<unknown> {
  const controller = new AbortController();
  const { signal } = controller;
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`A process of the benchmark ended with ${String(code)}.`);
  });
  try {
    const [message] = (await Promise.race([once(child, 'message', { signal }), ended])) as [unknown];
    return message;
  } finally {
    controller.abort();
    ended.catch(() => undefined);
  }
}

/** The median call: differences within each round, of which the median. The others: over all rounds together. */
function summaryOf(rounds: readonly Round[]): Overhead[Mode] {
  const inRound = (variant: Variant) => rounds.map((one) => quantile(one[variant].times, 0.5));
  const bare = inRound('bare');
  const tail = (variant: Variant) =>
    quantile(
      rounds.flatMap((one) => one[variant].times),
      0.99,
    );
  const cpu = (variant: Variant) => mean(rounds.map((one) => one[variant].cpu));
  return {
    p50: extra(median(bare), (variant) => {
      const own = inRound(variant);
      return median(bare.map((value, at) => (own[at] ?? NaN) - value));
    }),
    p99: extra(tail('bare'), (variant) => tail(variant) - tail('bare')),
    cpu: extra(cpu('bare'), (variant) => cpu(variant) - cpu('bare')),
  };
}

function extra(bare: number, of: (variant: Variant) => number): Extra {
  const [apprentice, langfuse] = [of('apprentice'), of('langfuse')];
  return {
    bare: round(bare),
    apprentice: round(apprentice),
    langfuse: round(langfuse),
    ratio: round(apprentice / langfuse),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / values.length;
}
