/** Hosts that train in a process of their own, to be killed at any point. */
import { createInterface } from 'node:readline';
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { ServingEngineName } from '../src/backends/local/index.ts';

const fixture = fileURLToPath(new URL('./fixtures/train-host.ts', import.meta.url));
const line = z.object({
  stage: z.string().optional(),
  step: z.int().nullish(),
  event: z.string().optional(),
});
export type Line = z.infer<typeof line>;

/** Starts one whose processes all carry the mark `run`. */
export function startHost(
  folder: string,
  steps: number,
  run: string,
  serving: ServingEngineName = 'transformers',
): ChildProcess {
  const given = ['--disable-warning=ExperimentalWarning', fixture, folder, String(steps), serving];
  return spawn(process.execPath, given, {
    env: { ...process.env, APPRENTICE_TEST_RUN: run },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Reads the host's lines until one fits; gives all of them. */
export async function until(host: ChildProcess, fits: (one: Line) => boolean): Promise<Line[]> {
  const seen: Line[] = [];
  if (host.stdout === null) throw new Error('The host has no output.');
  for await (const text of createInterface({ input: host.stdout })) {
    const one = line.parse(JSON.parse(text));
    seen.push(one);
    if (fits(one)) return seen;
  }
  throw new Error(`The host ended early, after ${JSON.stringify(seen.slice(-3))}.`);
}
