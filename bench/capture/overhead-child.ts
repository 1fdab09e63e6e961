/**
 * One variant in a process of its own: `overhead-child.ts VARIANT EXPORT_URL`. Says that it is ready, then answers each
 * slice that its parent asks for with its timings.
 */
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

export type Variant = 'bare' | 'apprentice' | 'langfuse';
/** Runs of the agent, one after the other. */
export interface Slice {
  readonly mode: Mode;
  readonly runs: number;
}

export interface Timings {
  readonly times: readonly number[];
  readonly cpu: number;
}

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

/** Microseconds of each run, and of the process's own CPU time, divided by the calls of a run. */
async function measure({ model, run }: Subject, { mode, runs }: Slice): Promise<Timings> {
  const times: number[] = [];
  const cpu = process.cpuUsage();
  for (let count = 0; count < runs; count += 1) {
    const began = performance.now();
    await run(() => runAgent(model, mode));
    times.push(((performance.now() - began) * 1000) / callsPerRun);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const used = process.cpuUsage(cpu);
  return { times, cpu: (used.user + used.system) / runs / callsPerRun };
}

const [variant, url] = process.argv.slice(2) as [Variant, string];
const subject = await subjectOf(variant, url);
process.on('message', (slice: Slice) => {
  void measure(subject, slice).then((timings) => process.send?.(timings));
});
process.once('disconnect', () => void subject.close());
process.send?.('ready');
