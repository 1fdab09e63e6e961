/** Records on and on; started under a limit on the size of its files, as if the disk were full. Prints JSON. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createApprentice } from 'apprentice';
import { wrapModel } from 'apprentice/ai-sdk';
import { makeModel, runAgent } from './agent.ts';

export interface DiskFullFigures {
  readonly runs: number;
  /** Runs of the agent that failed: the host must not notice. */
  readonly hostErrors: number;
  readonly stored: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly queued: number;
  /** (stored + dropped + queued) ÷ runs. */
  readonly accountedFor: number;
  readonly queueLimitMegabytes: number;
  /** Resident memory after a third of the runs, and the most after that. */
  readonly megabytesBefore: number;
  readonly megabytesMost: number;
}

const runs = Number(process.argv[2]);
const queueLimitMegabytes = 32;
const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
const apprentice = createApprentice({
  project: 'bench',
  name: 'bench',
  folder,
  queue: { maxBytes: queueLimitMegabytes * 1024 * 1024 },
});
const model = wrapModel(makeModel(), apprentice);
const megabytes = () => Math.round(process.memoryUsage.rss() / 1e6);
let hostErrors = 0;
let megabytesBefore = 0;
let megabytesMost = 0;
for (let run = 0; run < runs; run += 1) {
  try {
    await apprentice.run({}, () => runAgent({ model }, 'generate'));
  } catch {
    hostErrors += 1;
  }
  if (run % 1000 === 999) apprentice.recorder.finishAll();
  if (run === Math.floor(runs / 3)) megabytesBefore = megabytes();
  if (run > runs / 3) megabytesMost = Math.max(megabytesMost, megabytes());
}
apprentice.recorder.finishAll();
await apprentice.flush({ timeoutMs: 1000 });
const { stored, dropped, queued } = (await apprentice.status()).capture;
const droppedInAll = Object.values(dropped).reduce((sum, count) => sum + count, 0);
const figures: DiskFullFigures = {
  runs,
  hostErrors,
  stored,
  dropped,
  queued,
  accountedFor: (stored + droppedInAll + queued) / runs,
  queueLimitMegabytes,
  megabytesBefore,
  megabytesMost,
};
console.log(JSON.stringify(figures));
await rm(folder, { recursive: true, force: true });
process.exit(0);
