/** What recording adds to an AI SDK call, beside Langfuse: processes of both in turn, medians over them. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { execa } from 'execa';
import { median, round } from '../statistics.ts';
import type { Mode } from './agent.ts';
import type { Measures, RecorderName, Timings } from './overhead-child.ts';

const recorders: readonly RecorderName[] = ['apprentice', 'langfuse'];
const measures = ['p50', 'p99', 'cpu'] as const satisfies (keyof Measures)[];

/** Microseconds for each model call: of the bare agent, and how many more the others take. */
export interface Extra {
  readonly bare: number;
  readonly apprentice: number;
  readonly langfuse: number;
  readonly ratio: number;
}

export type Overhead = Readonly<Record<Mode, Readonly<Record<keyof Measures, Extra>>>>;

type Found = Readonly<Record<RecorderName, readonly Record<Mode, Timings>[]>>;

export async function benchOverhead(repeats: number, onProgress: (line: string) => void): Promise<Overhead> {
  const server = fork(new URL('./null-server.ts', import.meta.url));
  try {
    const [{ port }] = (await once(server, 'message')) as [{ port: number }];
    const url = `http://127.0.0.1:${String(port)}`;
    const found: Record<RecorderName, Record<Mode, Timings>[]> = { apprentice: [], langfuse: [] };
    for (let repeat = 1; repeat <= repeats; repeat += 1) {
      for (const recorder of recorders) {
        onProgress(`overhead ${String(repeat)}/${String(repeats)}: ${recorder}`);
        found[recorder].push(await runChild(recorder, url));
      }
    }
    return { generate: compare(found, 'generate'), stream: compare(found, 'stream') };
  } finally {
    server.disconnect();
  }
}

async function runChild(recorder: RecorderName, url: string): Promise<Record<Mode, Timings>> {
  const file = new URL('./overhead-child.ts', import.meta.url).pathname;
  const { stdout } = await execa(process.execPath, [...process.execArgv, file, recorder, url], {
    stderr: 'inherit',
    env: { LANGFUSE_TRACING_ENVIRONMENT: 'bench' },
  });
  return JSON.parse(stdout.split('\n').at(-1) ?? '') as Record<Mode, Timings>;
}

function compare(found: Found, mode: Mode): Overhead[Mode] {
  const entries = measures.map((measure) => {
    const extra = (recorder: RecorderName) => median(found[recorder].map((one) => one[mode].extra[measure]));
    const all = [...found.apprentice, ...found.langfuse];
    const [apprentice, langfuse] = [extra('apprentice'), extra('langfuse')];
    return [
      measure,
      {
        bare: round(median(all.map((one) => one[mode].bare[measure]))),
        apprentice: round(apprentice),
        langfuse: round(langfuse),
        ratio: round(apprentice / langfuse),
      },
    ] as const;
  });
  return Object.fromEntries(entries) as unknown as Overhead[Mode];
}
