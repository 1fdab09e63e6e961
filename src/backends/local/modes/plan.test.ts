import { describe, expect, it } from 'vitest';
import { InvalidOptionError } from '../../../errors.ts';
import { planMode, trainingDevice, type ModeFacts, type ModeOptions } from './plan.ts';

const facts: ModeFacts = {
  gpus: [
    { index: 0, freeBytes: 10e9 },
    { index: 1, freeBytes: 70e9 },
    { index: 2, freeBytes: 30e9 },
  ],
  serving: 'vllm',
  attentionHeads: 14,
};
const dedicated = (more: Partial<Extract<ModeOptions, { kind: 'dedicated' }>>): ModeOptions => ({
  kind: 'dedicated',
  servingGpus: [0, 1],
  trainingGpus: [2],
  ...more,
});

describe('planMode', () => {
  it('shares the GPU with the most free memory, or the one that was chosen', () => {
    expect(planMode({ kind: 'shared' }, facts)).toMatchObject({ gpu: 1 });
    expect(planMode({ kind: 'shared', gpu: 2 }, facts)).toMatchObject({ gpu: 2 });
  });

  it('holds the model on all serving GPUs together, and trains on another one', () => {
    expect(planMode(dedicated({}), facts)).toMatchObject({
      servingGpus: [0, 1],
      trainingGpu: 2,
      tensorParallelSize: 2,
    });
  });

  it.each<[string, ModeOptions, RegExp, Partial<ModeFacts>?]>([
    ['a GPU that is not there', { kind: 'shared', gpu: 3 }, /mode\.gpu" must be one of.*\(0, 1, 2\).* 3/],
    ['no serving GPU', dedicated({ servingGpus: [] }), /servingGpus.*at least one/],
    ['no training GPU', dedicated({ trainingGpus: [] }), /trainingGpus.*at least one/],
    ['a GPU on both sides', dedicated({ trainingGpus: [1] }), /trainingGpus.*without GPU 1, which serves/],
    ['a GPU named twice', dedicated({ servingGpus: [0, 0] }), /servingGpus.*each GPU once/],
    ['two training GPUs', dedicated({ servingGpus: [0], trainingGpus: [1, 2] }), /trainingGpus.*one GPU/],
    [
      'another tensor parallel size',
      dedicated({ tensorParallelSize: 1 }),
      /tensorParallelSize.* 2, the number/,
    ],
    [
      'heads that cannot be divided',
      dedicated({}),
      /servingGpus.*15 attention heads/,
      { attentionHeads: 15 },
    ],
    ['an engine in one process', { kind: 'shared' }, /mode\.kind.*transformers/, { serving: 'transformers' }],
    ['a machine without a GPU', { kind: 'shared' }, /without a GPU/, { gpus: [] }],
  ])('refuses %s, by name and with a fix', (_, options, message, other = {}) => {
    const plan = (): unknown => planMode(options, { ...facts, ...other });
    expect(plan).toThrow(InvalidOptionError);
    expect(plan).toThrow(message);
  });

  it('says where the trainer goes, and refuses another device beside it', () => {
    const plan = planMode(dedicated({}), facts);
    expect(trainingDevice(plan, 'auto')).toBe('cuda:2');
    expect(trainingDevice(planMode({ kind: 'shared', gpu: 1 }, facts), 'cuda')).toBe('cuda:1');
    expect(() => trainingDevice(plan, 'cpu')).toThrow(/localBackend\.device.*trains on cuda:2/);
  });
});
