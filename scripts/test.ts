/** `npm test`: everything that is tested, TypeScript and Python, with one closing line over all of it. */
import { rm } from 'node:fs/promises';
import { ensureEnvironment } from '../src/backends/local/install.ts';
import { conclude, pytest, results, say, vitest } from './suites.ts';

const torchtuneTests = ['torchtune', 'training', 'training_engines', 'adopt'].map(
  (name) => `tests/test_${name}.py`,
);

const onProgress = (message: string): void => {
  say(`  · ${message}`);
};
const environment = await ensureEnvironment({ dev: true, onProgress });
const torchtune = await ensureEnvironment({ set: 'torchtune', dev: true, onProgress });
await rm(results, { recursive: true, force: true });
conclude([
  await vitest('unit'),
  await vitest('end-to-end'),
  await pytest('Python', environment.python, ['tests', '--ignore=tests/test_torchtune.py']),
  // Beside torchtune lies another PEFT, with which steps are trained and served as well.
  await pytest('Python, torchtune', torchtune.python, torchtuneTests),
]);
