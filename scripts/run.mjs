/**
 * `npm run demo`, `npm test`: does all the set-up that a fresh clone needs, then goes on under Node 24, whichever Node
 * is on the PATH. Without dependencies and in plain JavaScript, because nothing is installed yet when it starts.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const modules = join(root, 'node_modules');
const stamp = join(modules, '.apprentice-lock-digest');
const tasks = {
  demo: 'examples/support-desk/demo.ts',
  'example:serverless': 'examples/serverless/train.ts',
  test: 'scripts/test.ts',
  'test:vllm': 'scripts/test-vllm.ts',
  check: 'scripts/check.ts',
  'gpu-check': 'scripts/gpu-check.ts',
  'bench:adapters': 'bench/adapters/index.ts',
  'bench:capture': 'bench/capture/index.ts',
  'bench:decoding': 'bench/decoding/index.ts',
  'bench:training': 'bench/training/index.ts',
  'bench:trl': 'bench/training/trl/index.ts',
  'example:openai-agent': 'examples/openai-agent/main.ts',
  'example:langgraph-agent': 'examples/langgraph-agent/index.ts',
};

const [name, ...rest] = process.argv.slice(2);
const file = tasks[name];
if (file === undefined) {
  console.error(`Usage: node scripts/run.mjs ${Object.keys(tasks).join('|')}`);
  process.exit(2);
}

const digest = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex');
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== digest) {
  console.log('  · Installing npm packages (about 400 MB, half a minute)');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const installed = spawnSync(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: 'inherit',
  });
  if (installed.status !== 0) {
    console.error('npm ci failed: mend what it says and start again.');
    process.exit(1);
  }
  writeFileSync(stamp, digest);
}

const node = join(modules, 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
const program = existsSync(node) ? node : process.execPath;
const run = spawnSync(
  program,
  ['--conditions=apprentice-source', '--disable-warning=ExperimentalWarning', join(root, file), ...rest],
  {
    cwd: root,
    stdio: 'inherit',
  },
);
process.exit(run.status ?? 1);
