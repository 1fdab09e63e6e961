/** Many agents at once: each run is stored wholly or counted as dropped. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createApprentice } from 'apprentice';
import { wrapModel } from 'apprentice/ai-sdk';
import { callsPerRun, makeModel, runAgent } from './agent.ts';

export interface BurstFigures {
  readonly runs: number;
  readonly stored: number;
  readonly dropped: number;
  /** Stored with fewer calls than were made, or without their end. */
  readonly partial: number;
  /** (stored + dropped) ÷ runs. */
  readonly accountedFor: number;
}

export async function benchBurst(runs: number): Promise<BurstFigures> {
  const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-'));
  const apprentice = createApprentice({ project: 'bench', name: 'bench', folder });
  try {
    const model = wrapModel(makeModel(), apprentice);
    await Promise.all(
      Array.from({ length: runs }, (_, index) =>
        apprentice.run({ scenario: String(index) }, () =>
          runAgent({ model }, index % 2 === 0 ? 'generate' : 'stream'),
        ),
      ),
    );
    apprentice.recorder.finishAll();
    await apprentice.flush({ timeoutMs: 60_000 });
    const { capture } = await apprentice.status();
    const found = await (await apprentice.store()).find({});
    const dropped = Object.values(capture.dropped).reduce((sum, count) => sum + count, 0);
    const whole = found.filter(({ trajectory }) => {
      const calls = trajectory.events.filter((event) => event.kind === 'model-call');
      return calls.length === callsPerRun && calls.every((call) => call.outcome.status === 'ok');
    });
    return {
      runs,
      stored: found.length,
      dropped,
      partial: found.length - whole.length,
      accountedFor: (found.length + dropped) / runs,
    };
  } finally {
    await apprentice.close();
    await rm(folder, { recursive: true, force: true });
  }
}
