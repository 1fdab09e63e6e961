/** How the GPUs of one machine are divided between serving and training. What cannot work is refused before a start. */
import { InvalidOptionError } from '../../../errors.ts';
import type { ServingEngineName } from '../engines.ts';
import type { Device } from '../machine/plan.ts';

export type ModeOptions =
  | {
      /** One GPU is handed over and back: nobody is answered while a step is trained. */
      readonly kind: 'shared';
      /** As nvidia-smi counts. Default: the one with the most free memory. */
      readonly gpu?: number;
    }
  | {
      /** Serving and training have GPUs of their own: serving never stops. */
      readonly kind: 'dedicated';
      readonly servingGpus: readonly number[];
      readonly trainingGpus: readonly number[];
      /** Serving GPUs that hold the model together. Default: all of them, the only value that is served today. */
      readonly tensorParallelSize?: number;
    };

/** What the machine and the base model allow. */
export interface ModeFacts {
  /** GPUs that were found, as nvidia-smi counts them, with their free memory. */
  readonly gpus: readonly { readonly index: number; readonly freeBytes: number }[];
  readonly serving: ServingEngineName;
  /** Of the base model, where it is known: tensor parallelism divides them. */
  readonly attentionHeads?: number;
}

export type ModePlan =
  | {
      readonly kind: 'shared';
      readonly gpu: number;
      readonly because: string;
    }
  | {
      readonly kind: 'dedicated';
      readonly servingGpus: readonly number[];
      readonly trainingGpu: number;
      readonly tensorParallelSize: number;
      readonly because: string;
    };

/** Throws InvalidOptionError with the field, the value received and the fix. */
export function planMode(options: ModeOptions, facts: ModeFacts): ModePlan {
  if (facts.serving !== 'vllm') {
    throw refuse('kind', options.kind, "left out beside serving 'transformers'", {
      fix: "It serves and trains in one process on one device; choose serving 'vllm' to divide GPUs.",
    });
  }
  if (facts.gpus.length === 0) {
    throw refuse('kind', options.kind, 'left out on a machine without a GPU', {
      fix: 'Leave it out: serving pauses while a step is trained, and neither of them moves.',
    });
  }
  switch (options.kind) {
    case 'shared':
      return planShared(options, facts);
    case 'dedicated':
      return planDedicated(options, facts);
    default:
      return options satisfies never;
  }
}

/** Where the trainer's base model lies. Throws InvalidOptionError where `device` says otherwise. */
export function trainingDevice(plan: ModePlan, device: Device | 'auto'): Device {
  const gpu = plan.kind === 'shared' ? plan.gpu : plan.trainingGpu;
  const planned: Device = `cuda:${String(gpu)}` as Device;
  if (device === 'auto' || device === 'cuda' || device === planned) return planned;
  throw new InvalidOptionError({
    field: 'localBackend.device',
    received: device,
    expected: `left out beside \`mode\`, which trains on ${planned}`,
    fix: 'Leave one of them out.',
  });
}

function planShared({ gpu }: Extract<ModeOptions, { kind: 'shared' }>, facts: ModeFacts): ModePlan {
  if (gpu !== undefined) {
    checkThere('gpu', [gpu], facts);
    return {
      kind: 'shared',
      gpu,
      because: `GPU ${String(gpu)} is shared: serving sleeps on it while a step is trained.`,
    };
  }
  const [most] = [...facts.gpus].sort((left, right) => right.freeBytes - left.freeBytes);
  const index = most?.index ?? 0;
  return {
    kind: 'shared',
    gpu: index,
    because: `GPU ${String(index)} has the most free memory; serving sleeps on it while a step is trained.`,
  };
}

function planDedicated(options: Extract<ModeOptions, { kind: 'dedicated' }>, facts: ModeFacts): ModePlan {
  const { servingGpus, trainingGpus } = options;
  for (const [field, list] of [
    ['servingGpus', servingGpus],
    ['trainingGpus', trainingGpus],
  ] as const) {
    if (list.length === 0)
      throw refuse(field, list, 'a list with at least one GPU', { fix: "Name one, or use kind 'shared'." });
    if (new Set(list).size < list.length)
      throw refuse(field, list, 'a list that names each GPU once', { fix: 'Remove the second mention.' });
    checkThere(field, list, facts);
  }
  const both = servingGpus.filter((gpu) => trainingGpus.includes(gpu));
  if (both.length > 0) {
    throw refuse('trainingGpus', trainingGpus, `without GPU ${both.join(', ')}, which serves`, {
      fix: "Give each side GPUs of its own, or use kind 'shared'.",
    });
  }
  const [trainingGpu, ...more] = trainingGpus;
  if (trainingGpu === undefined || more.length > 0) {
    throw refuse('trainingGpus', trainingGpus, 'one GPU', {
      fix: 'The trainers use one; give the others to serving.',
    });
  }
  const size = options.tensorParallelSize ?? servingGpus.length;
  if (size !== servingGpus.length) {
    throw refuse('tensorParallelSize', size, `${String(servingGpus.length)}, the number of serving GPUs`, {
      fix: 'Leave it out, or name as many serving GPUs.',
    });
  }
  const heads = facts.attentionHeads;
  if (heads !== undefined && heads % size !== 0) {
    throw refuse(
      'servingGpus',
      servingGpus,
      `a number that divides the model's ${String(heads)} attention heads`,
      {
        fix: 'Name fewer or more serving GPUs.',
      },
    );
  }
  return {
    kind: 'dedicated',
    servingGpus,
    trainingGpu,
    tensorParallelSize: size,
    because: `GPU ${servingGpus.join(', ')} serves and GPU ${String(trainingGpu)} trains: serving never stops.`,
  };
}

function checkThere(field: string, wanted: readonly number[], { gpus }: ModeFacts): void {
  const missing = wanted.find((gpu) => !gpus.some(({ index }) => index === gpu));
  if (missing === undefined) return;
  throw refuse(
    field,
    missing,
    `one of the GPUs that are there (${gpus.map(({ index }) => index).join(', ')})`,
    {
      fix: 'Use the numbers that nvidia-smi shows.',
    },
  );
}

function refuse(
  field: string,
  received: unknown,
  expected: string,
  { fix }: { fix: string },
): InvalidOptionError {
  return new InvalidOptionError({ field: `localBackend.mode.${field}`, received, expected, fix });
}
