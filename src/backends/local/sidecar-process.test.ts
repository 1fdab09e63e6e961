import { expect, test } from 'vitest';
import { settingsFor } from './models/registry.ts';
import { sidecarArguments } from './sidecar-process.ts';

test('the command line of a sidecar on a plain machine', () => {
  const made = sidecarArguments({
    baseModel: '/models/tiny',
    threads: 1,
    dtype: 'float32',
    training: 'transformers',
    device: 'cpu',
    quantization: 'none',
    model: settingsFor('/models/tiny', undefined),
  });
  expect(made.join(' ')).toBe(
    '--model /models/tiny --threads 1 --dtype float32 --training transformers --device cpu',
  );
});

test('what the registry knows about a model reaches the sidecar', () => {
  const made = sidecarArguments({
    baseModel: 'Qwen/Qwen3-4B',
    threads: 8,
    dtype: 'bfloat16',
    training: 'unsloth',
    device: 'cuda:1',
    quantization: '4bit',
    model: settingsFor('Qwen/Qwen3-4B', undefined),
  });
  expect(made.slice(6)).toEqual([
    ...['--training', 'unsloth', '--device', 'cuda:1', '--quantization', '4bit'],
    ...['--context-length', '32768', '--chat-template-kwargs', '{"enable_thinking":false}'],
  ]);
});
