import { describe, expect, test } from 'vitest';
import { settingsFor } from './models/registry.ts';
import { sidecarArguments, type ServingStart } from './sidecar-process.ts';

test('the command line of a sidecar on a plain machine', () => {
  const made = sidecarArguments({
    baseModel: '/models/tiny',
    threads: 1,
    dtype: 'float32',
    training: 'transformers',
    serving: { engine: 'transformers' },
    device: 'cpu',
    quantization: 'none',
    model: settingsFor('/models/tiny', undefined),
    runFolder: '/run',
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
    serving: { engine: 'transformers' },
    device: 'cuda:1',
    quantization: '4bit',
    model: settingsFor('Qwen/Qwen3-4B', undefined),
    runFolder: '/run',
  });
  expect(made.slice(6)).toEqual([
    ...['--training', 'unsloth', '--device', 'cuda:1', '--quantization', '4bit'],
    ...['--context-length', '32768', '--chat-template-kwargs', '{"enable_thinking":false}'],
  ]);
});

describe('vLLM is told', () => {
  const told = (
    baseModel: string,
    serving: Partial<Extract<ServingStart, { engine: 'vllm' }>> = {},
  ): string =>
    sidecarArguments({
      baseModel,
      threads: 1,
      dtype: 'float32',
      training: 'transformers',
      serving: { engine: 'vllm', python: '/vllm/bin/python', ...serving },
      device: 'cpu',
      quantization: 'none',
      model: settingsFor(baseModel, undefined),
      runFolder: '/run',
    })
      .join(' ')
      .replace(/^.*?--serving vllm/, '--serving vllm');

  test('where it lies, what it keeps room for, and how tools are called', () => {
    expect(told('/models/tiny')).toBe(
      '--serving vllm --serving-python /vllm/bin/python --serving-state /run --tool-call-parser hermes',
    );
  });

  test.each([
    ['Qwen/Qwen3-0.6B', '--tool-call-parser hermes --reasoning-parser qwen3'],
    ['Qwen/Qwen2.5-Coder-7B-Instruct', '--tool-call-parser none'],
  ])('the parsers of %s', (baseModel, parsers) => {
    expect(told(baseModel)).toMatch(new RegExp(`--serving-state /run ${parsers}$`));
  });

  test('which GPUs are its own; without a word it shares that of the trainer', () => {
    const because = '';
    expect(told('tiny', { mode: { kind: 'shared', gpu: 1, because } })).not.toContain('--serving-gpus');
    const mode = {
      kind: 'dedicated',
      servingGpus: [0, 2],
      trainingGpu: 1,
      tensorParallelSize: 2,
      because,
    } as const;
    expect(told('tiny', { mode })).toMatch(/--serving-gpus 0,2$/);
  });
});
