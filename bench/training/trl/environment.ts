/** TRL in a Python environment of its own, beside the sidecar's. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const requirements = fileURLToPath(new URL('requirements.txt', import.meta.url));

/** The interpreter of the environment, which is made at the first call. `sidecar` is the interpreter of the sidecar's. */
export async function ensureTrl(sidecar: string, say: (line: string) => void): Promise<string> {
  const pins = await readFile(requirements, 'utf8');
  const key = createHash('sha256').update(pins).digest('hex').slice(0, 16);
  const folder = join(dirname(dirname(dirname(sidecar))), `trl-${key}`);
  const python = join(folder, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  const marker = join(folder, 'complete.json');
  if (existsSync(marker)) return python;
  say(`Installing TRL into ${folder} (about a minute)`);
  await execa(sidecar, ['-m', 'venv', folder]);
  const pip = ['-m', 'pip', 'install', '--disable-pip-version-check', '--progress-bar', 'off'];
  // Exactly pinned and alone: only so does pip take a CPU build where its configuration offers one.
  await execa(python, [...pip, /^torch==.*$/m.exec(pins)?.[0] ?? 'torch']);
  await execa(python, [...pip, '-r', requirements]);
  await writeFile(marker, '{}');
  return python;
}
