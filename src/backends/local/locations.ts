import { existsSync } from 'node:fs';
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
