/**
 * Files that say which sidecars run for which host, so that a start finds and ends one that outlived its host: the
 * lifeline cannot end a sidecar that is stopped, or whose pipe another process has inherited.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';

/** A process id alone may have been given to somebody else since; with the time of its start it is one process. */
const identity = z.object({ pid: z.int().positive(), started: z.string() });
const record = z.object({ bootId: z.string(), host: identity, sidecar: identity });
type Identity = z.infer<typeof identity>;

/** Notes that `pid` runs for this process; gives back the file, to be removed when it has ended. */
export async function noteProcess(folder: string, pid: number): Promise<string> {
  const [host, sidecar] = await Promise.all([identify(process.pid), identify(pid)]);
  const file = join(folder, `sidecar-${String(pid)}.json`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(file, JSON.stringify({ bootId: await bootId(), host, sidecar }), { mode: 0o600 });
  return file;
}

/** Kills every noted process group whose host is gone; gives their process ids. Files of the dead are removed. */
export async function endLeftOvers(folder: string): Promise<readonly number[]> {
  const ended: number[] = [];
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => /^sidecar-\d+\.json$/.test(one))) {
    const file = join(folder, name);
    const parsed = record.safeParse(await readJson(file));
    if (parsed.success && (await isRunning(parsed.data.bootId, parsed.data.sidecar))) {
      if (await isRunning(parsed.data.bootId, parsed.data.host)) continue; // somebody else's, in good hands
      process.kill(-parsed.data.sidecar.pid, 'SIGKILL');
      ended.push(parsed.data.sidecar.pid);
    }
    await rm(file, { force: true });
  }
  return ended;
}

async function isRunning(recordedBoot: string, { pid, started }: Identity): Promise<boolean> {
  return recordedBoot === (await bootId()) && (await identify(pid)).started === started && started !== '';
}

/** `started` is empty where there is no such process, or no way to know. */
async function identify(pid: number): Promise<Identity> {
  return { pid, started: (await startFromProc(pid)) ?? (await startFromPs(pid)) };
}

/** Linux: clock ticks between the boot and the start. */
async function startFromProc(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${String(pid)}/stat`, 'utf8');
    // The second field, the name in brackets, may hold anything; the start is the 22nd, the 20th after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/** Other Unixes; the C locale and UTC make the dates comparable. */
async function startFromPs(pid: number): Promise<string> {
  const { stdout } = await execa('ps', ['-o', 'lstart=', '-p', String(pid)], {
    reject: false,
    env: { LC_ALL: 'C', TZ: 'UTC' },
  });
  return typeof stdout === 'string' ? stdout.trim() : '';
}

async function bootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  } catch {
    // Elsewhere than on Linux: the time of the boot, to the minute.
    return `boot-${String(Math.round((Date.now() / 1000 - uptime()) / 60))}`;
  }
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch {
    return undefined; // half written, or taken away by another start
  }
}
