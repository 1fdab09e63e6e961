import { defineConfig } from 'vitest/config';

/**
 * Tests of examples import `apprentice` as users do, and get its source. Without vite's condition `module`, which is for
 * bundlers: Node cannot load what some packages have there.
 */
const ssr = { resolve: { conditions: ['apprentice-source', 'node', 'development|production'] } };

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['src/**/*.test.ts', 'examples/**/*.test.ts'] } },
      {
        ssr,
        test: {
          name: 'end-to-end',
          include: ['test/**/*.test.ts'],
          exclude: ['test/vllm/**'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      onVllm('vllm', ['test/vllm/serving.test.ts', 'test/vllm/kill-host.test.ts']),
      onVllm('vllm-faults', ['test/vllm/faults.test.ts']),
    ],
  },
});

/** On a real vLLM, which takes half a minute to start: `npm run test:vllm`. */
function onVllm(name: string, include: string[]) {
  return {
    ssr,
    test: { name, include, testTimeout: 600_000, hookTimeout: 300_000, fileParallelism: false },
  };
}
