/** An apprentice on a fresh store, for tests. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createApprentice, type Apprentice, type ModelCall, type Trajectory } from '../src/index.ts';

export async function freshFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'apprentice-test-'));
}

export async function recordingApprentice(): Promise<Apprentice> {
  return createApprentice({ project: 'test', name: 'agent', folder: await freshFolder() });
}

/** Closes the apprentice's open runs and gives what was recorded, oldest first. */
export async function recorded(apprentice: Apprentice): Promise<Trajectory[]> {
  apprentice.recorder.finishAll();
  await apprentice.flush({ timeoutMs: 10_000 });
  const store = await apprentice.store();
  return (await store.find({})).map((one) => one.trajectory);
}

export function callsOf(trajectory: Trajectory | undefined): ModelCall[] {
  return (trajectory?.events ?? []).filter((event) => event.kind === 'model-call');
}
