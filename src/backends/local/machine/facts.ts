/** What was found out about a machine. Facts only: what follows from them is decided in `plan.ts`. */

export interface Gpu {
  /** As nvidia-smi counts, in the order of the PCI bus. */
  readonly index: number;
  readonly name: string;
  readonly memoryBytes: number;
  readonly freeBytes: number;
  /** CUDA compute capability, for instance 8.9. */
  readonly computeCapability: number;
}

export interface MachineFacts {
  readonly platform: NodeJS.Platform;
  readonly architecture: string;
  /** Absent where the C library is another one, or on another system. */
  readonly glibc?: string;
  /** Whether the loader finds libnuma.so.1. */
  readonly libnuma: boolean;
  readonly memoryBytes: number;
  readonly cores: number;
  readonly gpus: readonly Gpu[];
  /** Version of the NVIDIA driver; absent where there is none. */
  readonly driver?: string;
  /** Why nothing is known about GPUs. */
  readonly gpuProblem?: string;
  /** Whether `gpu-check` has found on this machine that Unsloth computes what transformers does. */
  readonly unslothVerified: boolean;
}

/** -1, 0 or 1 as the version `first` is older than, the same as, or newer than `second`. */
export function compareVersions(first: string, second: string): number {
  const [left, right] = [first, second].map((version) => version.split('.').map(Number));
  for (let place = 0; place < Math.max(left?.length ?? 0, right?.length ?? 0); place += 1) {
    const difference = (left?.[place] ?? 0) - (right?.[place] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}
