/** One variant in a process of its own: `overhead-child.ts VARIANT EXPORT_URL`; prints its timings as JSON. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { LangfuseSpanProcessor } from '@langfuse/otel';
import { LangfuseVercelAiSdkIntegration } from '@langfuse/vercel-ai-sdk';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { registerTelemetry, type LanguageModel } from 'ai';
import { createApprentice } from 'apprentice';
import { wrapModel } from 'apprentice/ai-sdk';
import { callsPerRun, makeModel, runAgent, type Mode } from './agent.ts';
import { quantile } from '../statistics.ts';

export type Variant = 'bare' | 'apprentice' | 'langfuse';
export type Timings = Readonly<Record<Mode, { p50: number; p99: number; cpu: number }>>;

// Until the code is compiled and the store's thread has started: what is asked for is the cost in a process that lives.
const warmUps = 2000;
const runs = 3000;

interface Subject {
  readonly model: LanguageModel;
  readonly run: (work: () => Promise<void>) => Promise<void>;
  readonly close: () => Promise<void>;
}

async function subjectOf(variant: Variant, url: string): Promise<Subject> {
  const direct = (work: () => Promise<void>) => work();
  switch (variant) {
    case 'bare':
      return { model: makeModel(), run: direct, close: () => Promise.resolve() };
    case 'apprentice': {
      const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
      const apprentice = createApprentice({ project: 'bench', name: 'bench', folder });
      return {
        model: wrapModel(makeModel(), apprentice),
        run: (work) => apprentice.run({ scenario: 'bench' }, work),
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
      registerTelemetry(new LangfuseVercelAiSdkIntegration());
      return { model: makeModel(), run: direct, close: () => provider.shutdown() };
    }
    default:
      throw new Error(`There is no variant ${String(variant satisfies never)}.`);
  }
}

/** Microseconds of a run, and of the process's own CPU time, divided by the calls of a run. */
async function measure({ model, run }: Subject, mode: Mode): Promise<Timings[Mode]> {
  const times: number[] = [];
  let cpu = process.cpuUsage();
  for (let count = -warmUps; count < runs; count += 1) {
    if (count === 0) cpu = process.cpuUsage();
    const began = performance.now();
    await run(() => runAgent(model, mode));
    if (count >= 0) times.push(((performance.now() - began) * 1000) / callsPerRun);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const used = process.cpuUsage(cpu);
  return {
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    cpu: (used.user + used.system) / runs / callsPerRun,
  };
}

const [variant, url] = process.argv.slice(2) as [Variant, string];
const subject = await subjectOf(variant, url);
const generate = await measure(subject, 'generate');
const stream = await measure(subject, 'stream');
await subject.close();
console.log(JSON.stringify({ generate, stream } satisfies Timings));
