import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { endLeftOvers, noteProcess } from './process-records.ts';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

async function sleeper(): Promise<ChildProcess & { pid: number }> {
  const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  return child as ChildProcess & { pid: number };
}

/** A note of `child`, changed as if it had been written otherwise. */
async function noted(child: { pid: number }, change: (note: Note) => void): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'apprentice-test-'));
  const file = await noteProcess(folder, child.pid);
  const note = JSON.parse(await readFile(file, 'utf8')) as Note;
  change(note);
  await writeFile(file, JSON.stringify(note));
  return folder;
}
interface Note {
  bootId: string;
  host: { pid: number; started: string };
  sidecar: { pid: number; started: string };
}
const hostIsGone = (note: Note): void => {
  note.host = { pid: 4_000_000, started: 'Thu Jan  1 00:00:00 1970' };
};

it('ends what outlived its host, once', async () => {
  const child = await sleeper();
  const folder = await noted(child, hostIsGone);
  const exit = once(child, 'exit');
  expect(await endLeftOvers(folder)).toEqual([child.pid]);
  expect(await exit).toEqual([null, 'SIGKILL']);
  expect(await readdir(folder)).toEqual([]);
  expect(await endLeftOvers(folder)).toEqual([]);
});

it.each([
  ['whose host runs', () => undefined],
  [
    'of another boot',
    (note: Note) => {
      note.bootId = 'another';
      hostIsGone(note);
    },
  ],
  [
    'that has the id of an older one',
    (note: Note) => {
      note.sidecar.started = 'Thu Jan  1 00:00:00 1970';
      hostIsGone(note);
    },
  ],
])('leaves a process alone %s', async (_, change) => {
  const child = await sleeper();
  const folder = await noted(child, change);
  expect(await endLeftOvers(folder)).toEqual([]);
  expect(child.exitCode).toBeNull();
  expect(child.signalCode).toBeNull();
});

it('takes a folder that is not there, and files that make no sense, for nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'apprentice-test-'));
  await writeFile(join(folder, 'sidecar-1.json'), '{"pid');
  expect(await endLeftOvers(folder)).toEqual([]);
  expect(await endLeftOvers(join(folder, 'missing'))).toEqual([]);
});
