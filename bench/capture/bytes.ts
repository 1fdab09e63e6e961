/** What a long run takes on disk, against what it says. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createApprentice } from 'apprentice';
import { wrapModel } from 'apprentice/ai-sdk';
import { round } from '../statistics.ts';
import { makeModel, runAgent, uniqueBytes } from './agent.ts';

export interface BytesFigures {
  readonly calls: number;
  readonly runs: number;
  /** Of one run: each message, tool result and answer once. */
  readonly uniqueBytes: number;
  /** Of one run: growth of the database file, with its indexes and its empty space. */
  readonly bytesOnDisk: number;
  readonly ratio: number;
}

export async function benchBytes(calls: number, runs: number): Promise<BytesFigures> {
  const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
  const size = async () => (await stat(join(folder, 'apprentice.sqlite'))).size;
  const record = async (count: number) => {
    const apprentice = createApprentice({ project: 'bench', name: 'bench', folder });
    const model = wrapModel(makeModel(calls), apprentice);
    for (let run = 0; run < count; run += 1)
      await apprentice.run({ scenario: String(run) }, () => runAgent({ model, calls }, 'generate'));
    // Closing writes everything from the log into the file.
    await apprentice.close();
  };
  try {
    await record(0);
    const before = await size();
    await record(runs);
    const bytesOnDisk = Math.round(((await size()) - before) / runs);
    const unique = uniqueBytes(calls);
    return { calls, runs, uniqueBytes: unique, bytesOnDisk, ratio: round(bytesOnDisk / unique) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
