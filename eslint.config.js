import js from '@eslint/js';
import { importX } from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/** Layers of the design, top first. A folder may import those below it, never above, and no neighbour on its row. */
export const layers = [
  ['index.ts'],
  ['apprentice.ts'],
  ['testing/wandb-server', 'training', 'policy'],
  ['adapters/ai-sdk', 'adapters/openai', 'rewards', 'store/sqlite', 'backends/local', 'backends/serverless'],
  ['capture'],
  ['trajectory', 'store', 'backends', 'pricing', 'errors.ts'],
];

/** Imports that the rows forbid but the design wants: the trainer steers the router and scores with rewards. */
const allowed = { training: ['policy'], 'store/sqlite': [], 'backends/local': [], 'backends/serverless': [] };

function zones() {
  return layers.flatMap((row, level) =>
    row.flatMap((target) => {
      const above = layers.slice(0, level).flat();
      // The lowest row holds the contracts, which speak of each other.
      const beside =
        level === layers.length - 1
          ? []
          : row.filter((one) => one !== target && !(allowed[target] ?? []).includes(one));
      const forbidden = [...above, ...beside].filter(
        (one) => one !== target && !one.startsWith(`${target}/`),
      );
      return forbidden.map((from) => ({
        target: `./src/${target}`,
        from: `./src/${from}`,
        message: `${target} may not import ${from}: see the layers in CONTRIBUTING.md.`,
      }));
    }),
  );
}

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'python-sidecar', 'coverage', '.apprentice'] },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    files: ['**/*.ts'],
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'import-x/no-restricted-paths': ['error', { zones: zones() }],
      'max-lines': ['error', { max: 500 }],
    },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly' } },
  },
);
