/**
 * One recorder beside the bare agent, in one process: `overhead-child.ts RECORDER EXPORT_URL`; prints its timings as
 * JSON. Both take turns, and what is compared are turns that follow each other: a machine with neighbours changes its
 * speed within seconds, and two processes of the same program differ by more than what is asked for here.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { LangfuseSpanProcessor } from '@langfuse/otel';
import { LangfuseVercelAiSdkIntegration } from '@langfuse/vercel-ai-sdk';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { createApprentice } from 'apprentice';
import { wrapModel } from 'apprentice/ai-sdk';
import { median, quantile } from '../statistics.ts';
import { callsPerRun, makeModel, runAgent, type Agent, type Mode } from './agent.ts';

export type RecorderName = 'apprentice' | 'langfuse';

/** Microseconds for each model call. `extra`: over the bare agent. `cpu`: of the whole process, its threads included. */
export interface Timings {
  readonly bare: Measures;
  readonly extra: Measures;
}
export type Measures = Readonly<Record<'p50' | 'p99' | 'cpu', number>>;

// Until the code is compiled and the store's thread has started: what is asked for is the cost in a process that lives.
const warmUps = 4000;
/** Short enough for a machine that changes its speed. What still waits at the end is drained before the other's turn. */
const runsPerTurn: Readonly<Record<Mode, number>> = { generate: 500, stream: 100 };
const pairs = 48;

interface Subject {
  readonly agent: Agent;
  readonly run: (work: () => Promise<void>) => Promise<void>;
  /** What it has put off until later is done. */
  readonly drain: () => Promise<unknown>;
  readonly close: () => Promise<void>;
}

/** No telemetry by name: the integration of Langfuse is of the whole process otherwise. */
const bare: Subject = {
  agent: { model: makeModel(), telemetry: { integrations: [] } },
  run: (work) => work(),
  drain: () => Promise.resolve(),
  close: () => Promise.resolve(),
};

async function recorded(recorder: RecorderName, url: string): Promise<Subject> {
  switch (recorder) {
    case 'apprentice': {
      const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
      const apprentice = createApprentice({ project: 'bench', name: 'bench', folder });
      return {
        agent: { ...bare.agent, model: wrapModel(makeModel(), apprentice) },
        run: (work) => apprentice.run({ scenario: 'bench' }, work),
        drain: () => apprentice.flush({ timeoutMs: 60_000 }),
        close: async () => {
          await apprentice.close();
          await rm(folder, { recursive: true });
        },
      };
    }
    case 'langfuse': {
      const processor = new LangfuseSpanProcessor({ publicKey: 'pk', secretKey: 'sk', baseUrl: url });
      const provider = new NodeTracerProvider({ spanProcessors: [processor] });
      provider.register();
      return {
        agent: { ...bare.agent, telemetry: { integrations: [new LangfuseVercelAiSdkIntegration()] } },
        run: (work) => work(),
        drain: () => processor.forceFlush(),
        close: () => provider.shutdown(),
      };
    }
    default:
      throw new Error(`There is no recorder ${String(recorder satisfies never)}.`);
  }
}

interface Turn {
  /** Of each run, divided by its calls, microseconds. */
  readonly times: readonly number[];
  readonly cpu: number;
}

async function turn({ agent, run, drain }: Subject, mode: Mode, runs: number): Promise<Turn> {
  const times: number[] = [];
  const cpu = process.cpuUsage();
  for (let count = 0; count < runs; count += 1) {
    const began = performance.now();
    await run(() => runAgent(agent, mode));
    times.push(((performance.now() - began) * 1000) / callsPerRun);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await drain();
  const used = process.cpuUsage(cpu);
  return { times, cpu: (used.user + used.system) / runs / callsPerRun };
}

async function compare(subject: Subject, mode: Mode): Promise<Timings> {
  for (const one of [bare, subject]) await turn(one, mode, warmUps);
  const without: Turn[] = [];
  const withIt: Turn[] = [];
  for (let pair = 0; pair < pairs; pair += 1) {
    const take = async (one: Subject, turns: Turn[]) => turns.push(await turn(one, mode, runsPerTurn[mode]));
    const order = [() => take(bare, without), () => take(subject, withIt)];
    for (const next of pair % 2 === 0 ? order : order.toReversed()) await next();
  }
  const middle = (turns: readonly Turn[]) => turns.map(({ times }) => quantile(times, 0.5));
  const tail = (turns: readonly Turn[]) =>
    quantile(
      turns.flatMap(({ times }) => times),
      0.99,
    );
  const cpu = (turns: readonly Turn[]) => median(turns.map((one) => one.cpu));
  const differences = middle(withIt).map((value, at) => value - (middle(without)[at] ?? NaN));
  return {
    bare: { p50: median(middle(without)), p99: tail(without), cpu: cpu(without) },
    extra: {
      p50: median(differences),
      p99: tail(withIt) - tail(without),
      cpu: cpu(withIt) - cpu(without),
    },
  };
}

const [recorder, url] = process.argv.slice(2) as [RecorderName, string];
const subject = await recorded(recorder, url);
const generate = await compare(subject, 'generate');
const stream = await compare(subject, 'stream');
await subject.close();
console.log(JSON.stringify({ generate, stream } satisfies Record<Mode, Timings>));
