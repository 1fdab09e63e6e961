/** Runs suites of tests, TypeScript and Python, and counts what they say. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { z } from 'zod';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Holds a report of each suite. */
export const results = join(root, 'node_modules', '.apprentice-test-results');

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Tells the sum, and fails the process unless every suite has tests and all of them pass. */
export function conclude(counts: readonly Counts[]): void {
  const passed = counts.reduce((sum, one) => sum + one.passed, 0);
  const failed = counts.reduce((sum, one) => sum + one.failed, 0);
  say(`${String(passed)} passed, ${String(failed)} failed`);
  process.exitCode = failed > 0 || counts.some((one) => one.passed === 0) ? 1 : 0;
}

/** A project of vitest.config.ts. */
export async function vitest(project: string): Promise<Counts> {
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
    { cwd: root, stdio: 'inherit', reject: false },
  );
  const report = z
    .object({ numPassedTests: z.int(), numFailedTests: z.int(), numFailedTestSuites: z.int() })
    .parse(JSON.parse(await readFile(file, 'utf8')));
  const failures = Math.max(report.numFailedTests, report.numFailedTestSuites, run.failed ? 1 : 0);
  return { passed: report.numPassedTests, failed: failures };
}

/** Files of python-sidecar/tests, in the environment of `python`. */
export async function pytest(
  title: string,
  python: string,
  files: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Counts> {
  say(`\n=== ${title} tests`);
  const folder = join(root, 'python-sidecar');
  const file = join(results, `${title}.xml`);
  const run = await execa(python, ['-m', 'pytest', '-q', `--junitxml=${file}`, ...files], {
    cwd: folder,
    stdio: 'inherit',
    reject: false,
    env: { PYTHONPATH: 'src', OMP_NUM_THREADS: '1', OMP_WAIT_POLICY: 'PASSIVE', ...env },
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
