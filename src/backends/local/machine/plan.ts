/** Which engines run where, decided from facts and wishes alone. Pure. */
import { InvalidOptionError } from '../../../errors.ts';
import type { TrainingEngineName } from '../engines.ts';
import type { RequirementSet } from '../install.ts';
import type { ModelSettings } from '../models/registry.ts';
import { compareVersions, type Gpu, type MachineFacts } from './facts.ts';

export type Precision = 'float32' | 'bfloat16';
/** `cuda`: the GPU with the most free memory. */
export type Device = 'cpu' | 'cuda' | `cuda:${number}`;

export interface TrainingWish {
  readonly training: TrainingEngineName | 'auto';
  readonly device: Device | 'auto';
  readonly dtype?: Precision;
  readonly quantization: '4bit' | 'none';
  readonly model: ModelSettings;
}

export interface TrainingPlan {
  readonly training: TrainingEngineName;
  readonly device: Device;
  readonly dtype: Precision;
  readonly set: RequirementSet;
  /** Why, in sentences. */
  readonly because: readonly string[];
  readonly warnings: readonly string[];
}

/** torch 2.13.0 on PyPI is built for CUDA 13. */
const oldestDriver = '580';
/** Turing: what CUDA 13 and vLLM 0.31 begin with. */
const lowestCapability = 7.5;
/** Ampere: bfloat16 in hardware. */
const bfloat16Capability = 8;
/** Of vLLM's and torch's wheels (manylinux_2_28). */
export const oldestGlibc = '2.28';

/** Why CUDA cannot be used on this machine, each with its fix; empty where it can. */
export function cudaProblems(facts: MachineFacts): readonly string[] {
  if (facts.gpus.length === 0) return [facts.gpuProblem ?? 'there is no NVIDIA GPU'];
  const problems: string[] = [];
  if (facts.platform !== 'linux') {
    problems.push(`CUDA is used on Linux only, this is ${facts.platform} (on Windows: WSL 2)`);
  }
  if (facts.driver !== undefined && compareVersions(facts.driver, oldestDriver) < 0) {
    problems.push(
      `driver ${facts.driver} is older than ${oldestDriver}, which CUDA 13 needs: install a newer one`,
    );
  }
  if (facts.platform === 'linux' && facts.glibc === undefined) {
    problems.push('the C library is not glibc, for which torch and vLLM are built');
  } else if (facts.glibc !== undefined && compareVersions(facts.glibc, oldestGlibc) < 0) {
    problems.push(`glibc ${facts.glibc} is older than ${oldestGlibc}: use a newer distribution`);
  }
  const best = Math.max(...facts.gpus.map((gpu) => gpu.computeCapability));
  if (best < lowestCapability) {
    problems.push(
      `compute capability ${best.toFixed(1)} is below ${String(lowestCapability)}, which CUDA 13 needs`,
    );
  }
  return problems;
}

/** Where and with what to train. Throws InvalidOptionError for what cannot work, before anything is installed. */
export function planTraining(facts: MachineFacts, wish: TrainingWish): TrainingPlan {
  const because: string[] = [];
  const warnings: string[] = [];
  const gpu = chooseGpu(facts, wish, because);
  const training = chooseEngine(facts, wish, gpu, because);
  checkEngine(training, wish);
  if (wish.quantization === '4bit') {
    warnings.push(
      'Training on 4-bit weights while 16-bit weights are served: logprobs of sampler and trainer differ more; ' +
        'use it only where memory forbids 16 bits.',
    );
  }
  const dtype = choosePrecision(wish, training, gpu, because);
  if (gpu !== undefined) checkMemory(gpu, wish, dtype, because);
  return {
    training,
    device: gpu === undefined ? 'cpu' : (`cuda:${String(gpu.index)}` as Device),
    dtype,
    set: training === 'unsloth' ? 'cuda-train' : training === 'torchtune' ? 'torchtune' : 'cpu',
    because,
    warnings,
  };
}

function chooseGpu(facts: MachineFacts, wish: TrainingWish, because: string[]): Gpu | undefined {
  if (wish.device === 'cpu') {
    because.push('On the CPU, as asked.');
    return undefined;
  }
  const problems = cudaProblems(facts);
  if (problems.length > 0) {
    if (wish.device !== 'auto')
      throw refused('device', wish.device, `a device that works: ${problems.join('; ')}`);
    because.push(`On the CPU: ${problems.join('; ')}.`);
    return undefined;
  }
  const fit = facts.gpus.filter((gpu) => gpu.computeCapability >= lowestCapability);
  if (wish.device !== 'auto' && wish.device !== 'cuda') {
    const named = fit.find((gpu) => `cuda:${String(gpu.index)}` === wish.device);
    if (named === undefined) {
      const there = fit.map((gpu) => `cuda:${String(gpu.index)}`).join(', ');
      throw refused('device', wish.device, `one of the GPUs that fit: ${there}`);
    }
    because.push(`On ${named.name} (cuda:${String(named.index)}), as asked.`);
    return named;
  }
  const best = fit.reduce((first, second) => (second.freeBytes > first.freeBytes ? second : first));
  because.push(`On ${best.name} (cuda:${String(best.index)}): the GPU with the most free memory.`);
  return best;
}

function chooseEngine(
  facts: MachineFacts,
  wish: TrainingWish,
  gpu: Gpu | undefined,
  because: string[],
): TrainingEngineName {
  if (wish.training === 'unsloth' && gpu === undefined) {
    const why = wish.device === 'cpu' ? 'device is cpu' : cudaProblems(facts).join('; ');
    throw refused('training', 'unsloth', `an engine that trains without CUDA (${why})`);
  }
  if (wish.training !== 'auto') {
    because.push(`Training with ${wish.training}, as asked.`);
    return wish.training;
  }
  if (wish.quantization === '4bit') {
    if (gpu === undefined) throw refused('quantization', '4bit', "'none' where there is no CUDA device");
    because.push('Training with unsloth: only it trains on 4-bit weights.');
    return 'unsloth';
  }
  if (gpu !== undefined && facts.unslothVerified && wish.model.trainers.includes('unsloth')) {
    because.push(
      'Training with unsloth: gpu-check has found on this machine that it computes what transformers does.',
    );
    return 'unsloth';
  }
  because.push(
    gpu === undefined
      ? 'Training with transformers: it runs on every CPU.'
      : 'Training with transformers: gpu-check has not verified Unsloth on this machine.',
  );
  return 'transformers';
}

function checkEngine(training: TrainingEngineName, wish: TrainingWish): void {
  if (!wish.model.trainers.includes(training)) {
    throw refused(
      'training',
      training,
      `one that trains ${wish.model.family}: ${wish.model.trainers.join(', ')}`,
    );
  }
  if (wish.quantization === '4bit' && training !== 'unsloth') {
    throw refused('quantization', '4bit', `'none' with ${training}: only unsloth trains on 4-bit weights`);
  }
}

function choosePrecision(
  wish: TrainingWish,
  training: TrainingEngineName,
  gpu: Gpu | undefined,
  because: string[],
): Precision {
  const capable = gpu === undefined || gpu.computeCapability >= bfloat16Capability;
  if (wish.dtype === 'bfloat16' && !capable) {
    throw refused('dtype', wish.dtype, `'float32' on ${gpu.name}, which has no bfloat16`);
  }
  if (wish.dtype !== undefined) return wish.dtype;
  if (gpu === undefined) {
    because.push('In float32, the faster precision on most CPUs.');
    return 'float32';
  }
  because.push(
    capable ? 'In bfloat16, with the adapter in float32.' : `In float32: ${gpu.name} has no bfloat16.`,
  );
  if (!capable && training === 'unsloth') {
    throw refused('training', training, `'transformers' on ${gpu.name}, which has no bfloat16`);
  }
  return capable ? 'bfloat16' : 'float32';
}

/** What a trainer holds beside the weights: activations, gradients of the adapter, its moments. A rule of thumb. */
const headroomBytes = 2 * 1024 ** 3;

function checkMemory(gpu: Gpu, wish: TrainingWish, dtype: Precision, because: string[]): void {
  const { parameters } = wish.model;
  if (parameters === undefined) return;
  const bytesEach = wish.quantization === '4bit' ? 0.6 : dtype === 'bfloat16' ? 2 : 4;
  const needed = parameters * bytesEach + headroomBytes;
  const gib = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
  if (needed > gpu.memoryBytes) {
    throw refused(
      'baseModel',
      `${(parameters / 1e9).toFixed(1)} billion parameters`,
      `a model that fits ${gpu.name}: it needs at least ${gib(needed)} of ${gib(gpu.memoryBytes)}`,
    );
  }
  because.push(`Its weights take ${gib(parameters * bytesEach)} of ${gib(gpu.memoryBytes)}.`);
}

/** `field` of localBackend cannot be honoured on this machine. */
export function refused(field: string, received: unknown, expected: string): InvalidOptionError {
  return new InvalidOptionError({
    field: `localBackend.${field}`,
    received,
    expected,
    fix: "Leave it at 'auto', or see what doctor() reports about this machine.",
  });
}
