import { describe, expect, test } from 'vitest';
import { settingsFor } from '../models/registry.ts';
import { compareVersions, type Gpu, type MachineFacts } from './facts.ts';
import { cudaProblems, planTraining, type TrainingWish } from './plan.ts';
import { parseGpus } from './probe.ts';

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
const card: Gpu = {
  index: 0,
  name: 'NVIDIA H100',
  memoryBytes: 80 * gib,
  freeBytes: 10 * gib,
  computeCapability: 9,
};
const withGpu: MachineFacts = {
  platform: 'linux',
  architecture: 'x64',
  glibc: '2.36',
  libnuma: true,
  memoryBytes: 16 * gib,
  cores: 8,
  gpus: [card],
  driver: '580.65.06',
  unslothVerified: false,
};

const wish = (changes: Partial<TrainingWish> = {}, baseModel = 'Qwen/Qwen3-4B'): TrainingWish => ({
  training: 'auto',
  device: 'auto',
  quantization: 'none',
  model: settingsFor(baseModel, undefined),
  ...changes,
});

describe('without a GPU', () => {
  test('transformers trains on the CPU in float32, and the plan says why', () => {
    const plan = planTraining(plain, wish());
    expect(plan).toMatchObject({ training: 'transformers', device: 'cpu', dtype: 'float32', set: 'cpu' });
    expect(plan.because.join(' ')).toContain('nvidia-smi was not found');
  });

  test('torchtune has a set of its own', () => {
    expect(planTraining(plain, wish({ training: 'torchtune' })).set).toBe('torchtune');
  });

  test.each([
    [{ training: 'unsloth' }, 'localBackend.training'],
    [{ device: 'cuda' }, 'localBackend.device'],
    [{ quantization: '4bit' }, 'localBackend.quantization'],
    [{ quantization: '4bit', training: 'transformers' }, 'localBackend.quantization'],
  ] satisfies [Partial<TrainingWish>, string][])('%o is refused by field', (changes, field) => {
    expect(() => planTraining(plain, wish(changes))).toThrow(field);
  });

  test('an engine that has not the family is refused with those that have', () => {
    expect(() => planTraining(plain, wish({ training: 'torchtune' }, 'google/gemma-4-31B-it'))).toThrow(
      /one that trains Gemma 4: transformers, unsloth, but it is "torchtune"/,
    );
  });
});

describe('with a GPU', () => {
  test('transformers trains there in bfloat16 until gpu-check has verified Unsloth', () => {
    expect(planTraining(withGpu, wish())).toMatchObject({
      training: 'transformers',
      device: 'cuda:0',
      dtype: 'bfloat16',
      set: 'cpu',
    });
    const verified = { ...withGpu, unslothVerified: true };
    expect(planTraining(verified, wish())).toMatchObject({ training: 'unsloth', set: 'cuda-train' });
  });

  test('the card with the most free memory is taken, or the one that was named', () => {
    const two = { ...withGpu, gpus: [card, { ...card, index: 1, freeBytes: 70 * gib }] };
    expect(planTraining(two, wish()).device).toBe('cuda:1');
    expect(planTraining(two, wish({ device: 'cuda:0' })).device).toBe('cuda:0');
    expect(() => planTraining(two, wish({ device: 'cuda:7' }))).toThrow(/cuda:0, cuda:1/);
  });

  test('the CPU is used where it is asked for', () => {
    expect(planTraining(withGpu, wish({ device: 'cpu' }))).toMatchObject({ device: 'cpu', dtype: 'float32' });
    expect(() => planTraining(withGpu, wish({ device: 'cpu', training: 'unsloth' }))).toThrow(
      'device is cpu',
    );
  });

  test('4 bits mean Unsloth, with a warning', () => {
    const plan = planTraining(withGpu, wish({ quantization: '4bit' }));
    expect(plan.training).toBe('unsloth');
    expect(plan.warnings).toHaveLength(1);
    expect(planTraining(withGpu, wish()).warnings).toHaveLength(0);
  });

  test('a Turing card has no bfloat16', () => {
    const turing = { ...withGpu, gpus: [{ ...card, computeCapability: 7.5 }] };
    expect(planTraining(turing, wish()).dtype).toBe('float32');
    expect(() => planTraining(turing, wish({ dtype: 'bfloat16' }))).toThrow('localBackend.dtype');
    expect(() => planTraining(turing, wish({ training: 'unsloth' }))).toThrow('no bfloat16');
  });

  test('a model that cannot fit is refused before anything is downloaded', () => {
    const small = { ...withGpu, gpus: [{ ...card, memoryBytes: 16 * gib, freeBytes: 16 * gib }] };
    expect(() => planTraining(small, wish({}, 'Qwen/Qwen3-32B'))).toThrow(/32\.0 billion parameters/);
    expect(planTraining(small, wish({ quantization: '4bit' }, 'Qwen/Qwen3-14B')).training).toBe('unsloth');
  });
});

describe('what stands in the way of CUDA', () => {
  test.each([
    [{ driver: '550.54.14' }, 'driver 550.54.14 is older than 580'],
    [{ glibc: '2.17' }, 'glibc 2.17 is older than 2.28'],
    [{ gpus: [{ ...card, computeCapability: 6.1 }] }, 'compute capability 6.1 is below 7.5'],
    [{ platform: 'win32' }, 'WSL 2'],
  ] satisfies [Partial<MachineFacts>, string][])('%o', (changes, said) => {
    const problems = cudaProblems({ ...withGpu, ...changes });
    expect(problems.join('; ')).toContain(said);
  });

  test('another C library than glibc', () => {
    const { glibc: _, ...musl } = withGpu;
    expect(cudaProblems(musl)).toEqual(['the C library is not glibc, for which torch and vLLM are built']);
  });

  test('nothing on a machine that fits', () => {
    expect(cudaProblems(withGpu)).toEqual([]);
  });
});

test('versions are compared by number', () => {
  expect(compareVersions('580.65.06', '580')).toBe(1);
  expect(compareVersions('2.9', '2.28')).toBe(-1);
  expect(compareVersions('2.28', '2.28.0')).toBe(0);
});

describe('the answer of nvidia-smi', () => {
  test('is read card by card', () => {
    const text =
      '0, NVIDIA H100 80GB HBM3, 81559, 80994, 9.0, 580.65.06\n1, NVIDIA L4, 23034, 100, 8.9, 580.65.06\n';
    const { gpus, driver } = parseGpus(text);
    expect(driver).toBe('580.65.06');
    expect(gpus.map((gpu) => [gpu.index, gpu.name, gpu.computeCapability])).toEqual([
      [0, 'NVIDIA H100 80GB HBM3', 9],
      [1, 'NVIDIA L4', 8.9],
    ]);
    expect(gpus[1]?.freeBytes).toBe(100 * 1024 * 1024);
  });

  test.each(['', 'No devices were found\n', '0, NVIDIA GRID, [N/A], [N/A], 7.0, 470.1\n'])(
    'without a card in it is a problem: %j',
    (text) => {
      const found = parseGpus(text);
      expect(found.gpus).toEqual([]);
      expect(found.gpuProblem).toMatch(/nvidia-smi/);
    },
  );
});
