/** What wrapping adds to the openai client: a process for each variant, interleaved, medians of repeats. */
import { execa } from 'execa';
import { median, round } from '../statistics.ts';
import type { Timings, Variant } from './openai-child.ts';

const variants: readonly Variant[] = ['bare', 'recorded', 'policy'];

/** Microseconds. `extra` is over the bare client in the same run. */
interface Added {
  readonly bare: number;
  readonly extra: number;
  readonly ratio: number;
}

export interface OpenAIOverhead {
  /** Recorded on the incumbent. */
  readonly recorded: { readonly call: Added; readonly chunk: Added };
  /** Rerouted to a policy: ids and log-probabilities recorded and stripped. */
  readonly policy: { readonly call: Added; readonly chunk: Added };
}

export async function benchOpenAI(
  repeats: number,
  onProgress: (line: string) => void,
): Promise<OpenAIOverhead> {
  const found: Record<Variant, Timings[]> = { bare: [], recorded: [], policy: [] };
  for (let repeat = 1; repeat <= repeats; repeat += 1) {
    for (const variant of variants) {
      onProgress(`openai ${String(repeat)}/${String(repeats)}: ${variant}`);
      found[variant].push(await runChild(variant));
    }
  }
  const added = (variant: Variant, measure: keyof Timings): Added => {
    const of = (one: Variant) => median(found[one].map((timings) => timings[measure]));
    const [bare, all] = [of('bare'), of(variant)];
    return { bare: round(bare), extra: round(all - bare), ratio: round(all / bare) };
  };
  const both = (variant: Variant) => ({ call: added(variant, 'call'), chunk: added(variant, 'chunk') });
  return { recorded: both('recorded'), policy: both('policy') };
}

async function runChild(variant: Variant): Promise<Timings> {
  const file = new URL('./openai-child.ts', import.meta.url).pathname;
  const { stdout } = await execa(process.execPath, [...process.execArgv, file, variant], {
    stderr: 'inherit',
  });
  return JSON.parse(stdout.split('\n').at(-1) ?? '') as Timings;
}
