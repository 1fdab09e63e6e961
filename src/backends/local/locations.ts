import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EnvironmentError } from '../../errors.ts';

/** The folder `python-sidecar` of this package, from source or built. */
export function sidecarFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const candidate = join(folder, 'python-sidecar');
    if (existsSync(join(candidate, 'requirements'))) return candidate;
    const parent = dirname(folder);
    if (parent === folder) break;
    folder = parent;
  }
  throw new EnvironmentError('The package does not hold its Python sidecar.', {
    fix: 'Install `apprentice` again.',
  });
}

/** Where environments, base models and what was found out about this machine are kept. */
export function cacheFolder(): string {
  const given = process.env['APPRENTICE_CACHE'];
  if (given !== undefined && given !== '') return given;
  if (process.platform === 'win32') return join(process.env['LOCALAPPDATA'] ?? homedir(), 'apprentice');
  if (process.platform === 'darwin') return join(homedir(), 'Library/Caches/apprentice');
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'apprentice');
}

/** The tiny base model that comes with the repository: for demos and tests. */
export function tinyModelFolder(): string {
  return join(sidecarFolder(), 'tiny-model', 'model');
}

/** Folder of one adapter step. */
export function adapterFolder(root: string, name: string, step: number): string {
  return join(adaptersFolder(root, name), String(step).padStart(4, '0'));
}

export function adaptersFolder(root: string, name: string): string {
  return join(root, 'models', name, 'adapters');
}
