import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: [
    'src/index.ts',
    'src/adapters/ai-sdk/index.ts',
    'src/adapters/langchain/index.ts',
    'src/adapters/openai/index.ts',
    'src/backends/local/index.ts',
    'src/backends/serverless/index.ts',
    'src/rewards/index.ts',
    'src/testing/index.ts',
    'src/testing/wandb-server/index.ts',
    'src/testing/wandb-server/main.ts',
    // The store's thread is loaded by URL from the file beside it.
    'src/store/sqlite/worker.ts',
  ],
  // One file for each source file: no shared chunks, hence no cycles between them, and stack traces that one can read.
  unbundle: true,
  format: ['esm', 'cjs'],
  dts: true,
  platform: 'node',
  target: 'node22',
  fixedExtension: true,
});
