import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'ai-sdk': 'src/adapters/ai-sdk/index.ts',
    'backends/local': 'src/backends/local/index.ts',
    rewards: 'src/rewards/index.ts',
    // The store's thread is loaded by URL, beside whichever chunk starts it.
    worker: 'src/store/sqlite/worker.ts',
  },
  format: ['esm', 'cjs'],
  dts: true,
  platform: 'node',
  target: 'node22',
  fixedExtension: true,
  shims: true, // import.meta.url in the CommonJS build
});
