/** What can serve on this machine, and with which packages. Pure. */
import type { ServingEngineName } from '../engines.ts';
import type { RequirementSet } from '../install.ts';
import { planMode, type ModePlan } from '../modes/plan.ts';
import { compareVersions, type MachineFacts } from './facts.ts';
import { cudaProblems, oldestGlibc, refused, type TrainingPlan } from './plan.ts';

export interface ServingWish {
  readonly serving: ServingEngineName;
  /** Where the base model of the trainer lies. */
  readonly device: TrainingPlan['device'];
  /** How GPUs are divided. Default: one is shared. */
  readonly mode?: ModePlan;
}

export type ServingPlan =
  | { readonly serving: 'transformers'; readonly because: string }
  | {
      readonly serving: 'vllm';
      readonly set: Extract<RequirementSet, 'vllm-cpu' | 'cuda-serve'>;
      /** Absent on a CPU. */
      readonly mode?: ModePlan;
      readonly because: string;
    };

/** vLLM's CPU build has wheels for these alone. */
const architectures = ['x64', 'arm64'];

/** Why vLLM cannot serve on this machine's CPU, each with its fix; empty where it can. */
export function cpuServingProblems(facts: MachineFacts): readonly string[] {
  if (facts.platform !== 'linux') {
    return [`its CPU build is for Linux, this is ${facts.platform} (on Windows: WSL 2)`];
  }
  const problems: string[] = [];
  if (!architectures.includes(facts.architecture)) {
    problems.push(`its CPU build is for ${architectures.join(' and ')}, this is ${facts.architecture}`);
  }
  if (facts.glibc === undefined) {
    problems.push('the C library is not glibc, for which it is built: use another distribution');
  } else if (compareVersions(facts.glibc, oldestGlibc) < 0) {
    problems.push(`glibc ${facts.glibc} is older than ${oldestGlibc}: use a newer distribution`);
  }
  if (!facts.libnuma) {
    problems.push(
      'libnuma.so.1 is missing: install libnuma1 (Debian, Ubuntu: apt-get install libnuma1) or numactl-libs ' +
        '(Fedora, RHEL: dnf install numactl-libs)',
    );
  }
  return problems;
}

/** Throws InvalidOptionError for what cannot work, before anything is installed. */
export function planServing(facts: MachineFacts, { serving, device, mode }: ServingWish): ServingPlan {
  switch (serving) {
    case 'transformers':
      return { serving, because: 'Served by our own server, in the process that trains.' };
    case 'vllm': {
      if (device === 'cpu') {
        const problems = cpuServingProblems(facts);
        if (problems.length > 0)
          throw refused('serving', serving, `'transformers' on this machine: ${problems.join('; ')}`);
        return {
          serving,
          set: 'vllm-cpu',
          because: 'Served by vLLM on the CPU; it pauses while a step is trained.',
        };
      }
      const gpu = Number(device.slice('cuda:'.length));
      const divided = mode ?? planMode({ kind: 'shared', gpu }, { gpus: facts.gpus, serving });
      return { serving, set: 'cuda-serve', mode: divided, because: `Served by vLLM. ${divided.because}` };
    }
    default:
      return serving satisfies never;
  }
}

/** What could serve on this machine: for reports. */
export function servingPossibilities(
  facts: MachineFacts,
): Readonly<Record<ServingEngineName, { readonly possible: boolean; readonly because: string }>> {
  const cuda = cudaProblems(facts);
  const cpu = cpuServingProblems(facts);
  const vllm =
    cuda.length === 0
      ? { possible: true, because: 'on the GPU' }
      : cpu.length === 0
        ? { possible: true, because: `on the CPU only: ${cuda.join('; ')}` }
        : { possible: false, because: [...cuda, ...cpu].join('; ') };
  return { transformers: { possible: true, because: 'our own server runs wherever torch does' }, vllm };
}
