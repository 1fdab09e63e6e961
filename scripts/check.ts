/** `npm run check`: types, lint, format, build and package hygiene; nothing is run. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { ensureEnvironment } from '../src/backends/local/install.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name: string): string => join(root, 'node_modules', '.bin', name);
const environment = await ensureEnvironment({ dev: true });
// It holds all that the sidecar imports on a machine without a GPU.
const everything = await ensureEnvironment({ set: 'torchtune', dev: true });
const sidecar = join(root, 'python-sidecar');

const checks: readonly (readonly [
  name: string,
  command: string,
  given: readonly string[],
  folder?: string,
])[] = [
  ['types', bin('tsc'), ['--noEmit']],
  ['lint', bin('eslint'), ['.']],
  ['format', bin('prettier'), ['--check', '.', '--log-level', 'warn']],
  ['build', bin('tsdown'), ['--logLevel', 'warn']],
  ['package', bin('publint'), ['--strict']],
  [
    'package types',
    bin('attw'),
    ['--pack', '.', '--ignore-rules', 'no-resolution', '--format', 'ascii', '-q'],
  ],
  ['python lint', environment.python, ['-m', 'ruff', 'check', '.'], sidecar],
  ['python types', bin('pyright'), ['--pythonpath', everything.python], sidecar],
  ['python format', environment.python, ['-m', 'ruff', 'format', '--check', '.'], sidecar],
];

let failed = 0;
for (const [name, command, given, folder] of checks) {
  const result = await execa(command, given, {
    cwd: folder ?? root,
    reject: false,
    all: true,
    env: { PATH: `${join(root, 'node_modules', '.bin')}:${process.env['PATH'] ?? ''}` },
  });
  process.stdout.write(`${result.failed ? 'FAILED' : 'ok    '} ${name}\n`);
  if (result.failed) {
    failed += 1;
    process.stdout.write(`${result.all}\n`);
  }
}
process.exitCode = failed > 0 ? 1 : 0;
