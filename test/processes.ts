/** Which processes of a test are alive: those that carry its mark in their environment. */
import { readdir, readFile } from 'node:fs/promises';

/** Processes, zombies left out, whose environment holds `APPRENTICE_TEST_RUN=<run>`. */
export async function alive(run: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
    const zombie = stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
    if (environment.includes(`APPRENTICE_TEST_RUN=${run}`) && !zombie) found.push(Number(pid));
  }
  return found;
}

/** Waits up to five seconds for the last of them to go; gives those that stay. */
export async function nothingLeft(run: string): Promise<number[]> {
  let left: number[] = [];
  for (let attempt = 0; attempt < 50; attempt += 1) {
    left = await alive(run);
    if (left.length === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return left;
}
