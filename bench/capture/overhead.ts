/** What recording adds to an AI SDK call, beside Langfuse: a process for each variant, interleaved, medians of repeats. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { execa } from 'execa';
import { median, round } from '../statistics.ts';
import type { Mode } from './agent.ts';
import type { Timings, Variant } from './overhead-child.ts';

const variants: readonly Variant[] = ['bare', 'apprentice', 'langfuse'];
const measures = ['p50', 'p99', 'cpu'] as const;

/** Extra microseconds for each model call over the bare agent. */
export type Overhead = Readonly<
  Record<
    Mode,
    Record<(typeof measures)[number], { bare: number; apprentice: number; langfuse: number; ratio: number }>
  >
>;

export async function benchOverhead(repeats: number, onProgress: (line: string) => void): Promise<Overhead> {
  const server = fork(new URL('./null-server.ts', import.meta.url));
  try {
    const [{ port }] = (await once(server, 'message')) as [{ port: number }];
    const url = `http://127.0.0.1:${String(port)}`;
    const found: Record<Variant, Timings[]> = { bare: [], apprentice: [], langfuse: [] };
    for (let repeat = 1; repeat <= repeats; repeat += 1) {
      for (const variant of variants) {
        onProgress(`overhead ${String(repeat)}/${String(repeats)}: ${variant}`);
        found[variant].push(await runChild(variant, url));
      }
    }
    return { generate: compare(found, 'generate'), stream: compare(found, 'stream') };
  } finally {
    server.disconnect();
  }
}

async function runChild(variant: Variant, url: string): Promise<Timings> {
  const file = new URL('./overhead-child.ts', import.meta.url).pathname;
  const { stdout } = await execa(process.execPath, [...process.execArgv, file, variant, url], {
    stderr: 'inherit',
    env: { LANGFUSE_TRACING_ENVIRONMENT: 'bench' },
  });
  return JSON.parse(stdout.split('\n').at(-1) ?? '') as Timings;
}

function compare(found: Record<Variant, Timings[]>, mode: Mode): Overhead[Mode] {
  const entries = measures.map((measure) => {
    const of = (variant: Variant) => median(found[variant].map((timings) => timings[mode][measure]));
    const bare = of('bare');
    const [apprentice, langfuse] = [of('apprentice') - bare, of('langfuse') - bare];
    const numbers = { bare, apprentice, langfuse, ratio: apprentice / langfuse };
    return [
      measure,
      Object.fromEntries(Object.entries(numbers).map(([key, value]) => [key, round(value)])),
    ] as const;
  });
  return Object.fromEntries(entries) as Overhead[Mode];
}
