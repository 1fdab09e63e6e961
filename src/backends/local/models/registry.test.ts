import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { tinyModelFolder } from '../locations.ts';
import { modelFamilies } from './families.ts';
import { findFamily, modelSettings, settingsFor } from './registry.ts';

describe('the family of a base model', () => {
  test.each([
    ['Qwen/Qwen3-4B-Instruct-2507', 'Qwen3-Instruct-2507'],
    ['Qwen/Qwen3-4B-Thinking-2507', 'Qwen3-Thinking-2507'],
    ['Qwen/Qwen3-0.6B', 'Qwen3'],
    ['Qwen/Qwen3-30B-A3B', 'Qwen3 mixture of experts'],
    ['Qwen/Qwen3-Coder-30B-A3B-Instruct', 'Qwen3-Coder'],
    ['Qwen/Qwen3.5-4B', 'Qwen3.5 and later'],
    ['Qwen/Qwen3.8-27B', 'Qwen3.5 and later'],
    ['Qwen/Qwen2.5-7B-Instruct', 'Qwen2.5'],
    ['Qwen/Qwen2.5-Coder-7B-Instruct', 'Qwen2.5-Coder'],
    ['meta-llama/Llama-3.1-8B-Instruct', 'Llama 3'],
    ['meta-llama/Meta-Llama-3-8B', 'Llama 3'],
    ['mistralai/Mistral-7B-Instruct-v0.3', 'Mistral'],
    ['google/gemma-4-31B-it', 'Gemma 4'],
    ['openai/gpt-oss-20b', 'gpt-oss'],
    ['HuggingFaceTB/SmolLM2-135M-Instruct', 'SmolLM2'],
    ['/models/Qwen3-8B/', 'Qwen3'],
  ])('%s is %s', (baseModel, family) => {
    expect(findFamily(baseModel)?.family).toBe(family);
  });

  test('is read off config.json where the name of the folder says nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'model-'));
    await writeFile(join(folder, 'config.json'), JSON.stringify({ model_type: 'qwen3', hidden_size: 8 }));
    expect((await modelSettings(folder)).family).toBe('Qwen3');
  });

  test('is unknown where neither says it; then every engine may try, with adapters on all linear layers', async () => {
    const settings = await modelSettings(tinyModelFolder());
    expect(settings).toEqual({
      family: 'unknown',
      toolCallParser: 'hermes',
      reasoningParser: null,
      chatTemplateKwargs: {},
      loraTargets: null,
      trainers: ['transformers', 'torchtune', 'unsloth'],
      attentionHeads: 4,
    });
  });
});

describe('settings', () => {
  test('come from the family', () => {
    expect(settingsFor('Qwen/Qwen3-0.6B', undefined)).toMatchObject({
      toolCallParser: 'hermes',
      reasoningParser: 'qwen3',
      chatTemplateKwargs: { enable_thinking: false },
      contextLength: 32_768,
      parameters: 6e8,
    });
  });

  test('are overruled by what the user says, null included', () => {
    const settings = settingsFor('Qwen/Qwen3-0.6B', undefined, {
      reasoningParser: null,
      chatTemplateKwargs: { enable_thinking: true },
      contextLength: 4096,
      loraTargets: ['q_proj'],
    });
    expect(settings).toMatchObject({
      toolCallParser: 'hermes',
      reasoningParser: null,
      chatTemplateKwargs: { enable_thinking: true },
      contextLength: 4096,
      loraTargets: ['q_proj'],
    });
  });

  test('make any other model work', () => {
    expect(settingsFor('acme/agent-v9', 'acme', { toolCallParser: 'hermes' }).toolCallParser).toBe('hermes');
  });

  test('refuse an adapter on the head', () => {
    expect(() => settingsFor('x', undefined, { loraTargets: ['q_proj', 'lm_head'] })).toThrow(
      'localBackend.model.loraTargets',
    );
  });

  test.each([
    ['HuggingFaceTB/SmolLM2-135M-Instruct', 135e6],
    ['Qwen/Qwen3-30B-A3B', 30e9],
    ['acme/agent-v9', undefined],
  ])('know how large %s is', (baseModel, parameters) => {
    expect(settingsFor(baseModel, undefined).parameters).toBe(parameters);
  });
});

test('no family hides behind one before it', () => {
  const examples = [
    'Qwen3.5-4B',
    'Qwen3-Coder-30B',
    'Qwen2.5-Coder-7B',
    'Qwen3-30B-A3B',
    'Qwen3-8B',
    'Qwen2.5-7B',
  ];
  const found = examples.map((name) => findFamily(name)?.family);
  expect(new Set(found).size).toBe(examples.length);
  expect(new Set(modelFamilies.map((family) => family.family)).size).toBe(modelFamilies.length);
});
