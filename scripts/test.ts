/** `npm test`: everything that is tested, TypeScript and Python, with one closing line over all of it. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { z } from 'zod';
import { ensureEnvironment } from '../src/backends/local/install.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const results = join(root, 'node_modules', '.apprentice-test-results');
const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const torchtuneTests = ['torchtune', 'training', 'training_engines', 'adopt'].map(
  (name) => `tests/test_${name}.py`,
);

interface Counts {
  readonly passed: number;
  readonly failed: number;
}

const onProgress = (message: string): void => {
  say(`  · ${message}`);
};
const environment = await ensureEnvironment({ dev: true, onProgress });
const torchtune = await ensureEnvironment({ set: 'torchtune', dev: true, onProgress });
await rm(results, { recursive: true, force: true });
const counts = [
  await vitest('unit'),
  await vitest('end-to-end'),
  await pytest('Python', environment.python, ['tests', '--ignore=tests/test_torchtune.py']),
  // Beside torchtune lies another PEFT, with which steps are trained and served as well.
  await pytest('Python, torchtune', torchtune.python, torchtuneTests),
];
const passed = counts.reduce((sum, one) => sum + one.passed, 0);
const failed = counts.reduce((sum, one) => sum + one.failed, 0);
say(`${String(passed)} passed, ${String(failed)} failed`);
process.exitCode = failed > 0 || counts.some((one) => one.passed === 0) ? 1 : 0;

async function vitest(project: string): Promise<Counts> {
  say(`\n=== TypeScript, ${project} tests`);
  const file = join(results, `${project}.json`);
  const run = await execa(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--project',
      project,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
    ],
    { cwd: root, stdio: 'inherit', reject: false, env: { APPRENTICE_TEST_PYTHON: environment.python } },
  );
  const report = z
    .object({ numPassedTests: z.int(), numFailedTests: z.int(), numFailedTestSuites: z.int() })
    .parse(JSON.parse(await readFile(file, 'utf8')));
  const failures = Math.max(report.numFailedTests, report.numFailedTestSuites, run.failed ? 1 : 0);
  return { passed: report.numPassedTests, failed: failures };
}

async function pytest(title: string, python: string, files: readonly string[]): Promise<Counts> {
  say(`\n=== ${title} tests`);
  const folder = join(root, 'python-sidecar');
  const file = join(results, `${title}.xml`);
  const run = await execa(python, ['-m', 'pytest', '-q', `--junitxml=${file}`, ...files], {
    cwd: folder,
    stdio: 'inherit',
    reject: false,
    env: { PYTHONPATH: 'src', OMP_NUM_THREADS: '1', OMP_WAIT_POLICY: 'PASSIVE' },
  });
  const xml = await readFile(file, 'utf8');
  const number = (name: string): number =>
    Number(new RegExp(`<testsuite [^>]*${name}="(\\d+)"`).exec(xml)?.[1] ?? '0');
  const failures = number('failures') + number('errors');
  return {
    passed: number('tests') - failures - number('skipped'),
    failed: Math.max(failures, run.failed ? 1 : 0),
  };
}
