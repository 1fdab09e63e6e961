/** What this machine can serve and train, and what would be installed: a report that changes nothing. */
import { InvalidOptionError } from '../../errors.ts';
import { trainingEngines, type ServingEngineName, type TrainingEngineName } from './engines.ts';
import { findEnvironment, type RequirementSet } from './install.ts';
import type { MachineFacts } from './machine/facts.ts';
import { planTraining, type Device, type TrainingPlan } from './machine/plan.ts';
import { probeMachine } from './machine/probe.ts';
import { servingPossibilities } from './machine/serving.ts';
import { modelSettings, type ModelOptions, type ModelSettings } from './models/registry.ts';

export interface DoctorOptions {
  /** A hub id or folder: the report then says what fits it. */
  readonly baseModel?: string;
  readonly model?: ModelOptions;
  readonly device?: Device | 'auto';
  /** The Python to build environments on. */
  readonly python?: string;
}

export interface Possibility {
  readonly possible: boolean;
  readonly because: string;
}

export interface DoctorReport {
  readonly machine: MachineFacts;
  /** Of the base model that was asked about; its family is `unknown` where the registry does not know it. */
  readonly model: ModelSettings;
  /** What `training: 'auto'` comes to. Absent where nothing can be trained: see `problems`. */
  readonly plan?: TrainingPlan;
  readonly training: Readonly<Record<TrainingEngineName, Possibility>>;
  readonly serving: Readonly<Record<ServingEngineName, Possibility>>;
  /** The environments that plans of this machine use. */
  readonly environments: readonly {
    readonly set: RequirementSet;
    readonly folder: string;
    readonly installed: boolean;
  }[];
  /** What stands in the way, each with its fix. */
  readonly problems: readonly string[];
}

/** Looks at this machine. Starts and installs nothing; asks no network. */
export async function doctor(options: DoctorOptions = {}): Promise<DoctorReport> {
  const machine = await probeMachine();
  const model = await modelSettings(options.baseModel ?? '', options.model);
  const problems: string[] = [];
  const plan = attempt(machine, model, options, 'auto');
  if (!('training' in plan)) problems.push(plan.because);
  const training = Object.fromEntries(
    trainingEngines.map((engine) => [engine, possibility(attempt(machine, model, options, engine))]),
  ) as Record<TrainingEngineName, Possibility>;
  return {
    machine,
    model,
    ...('training' in plan ? { plan } : {}),
    training,
    serving: servingPossibilities(machine),
    environments: await environments(options, problems),
    problems,
  };
}

function attempt(
  machine: MachineFacts,
  model: ModelSettings,
  options: DoctorOptions,
  training: TrainingEngineName | 'auto',
): TrainingPlan | { readonly because: string } {
  try {
    return planTraining(machine, {
      training,
      device: options.device ?? 'auto',
      quantization: 'none',
      model,
    });
  } catch (error) {
    if (error instanceof InvalidOptionError) return { because: error.message };
    throw error;
  }
}

function possibility(plan: TrainingPlan | { readonly because: string }): Possibility {
  return 'training' in plan
    ? { possible: true, because: plan.because.join(' ') }
    : { possible: false, because: plan.because };
}

async function environments(
  options: DoctorOptions,
  problems: string[],
): Promise<DoctorReport['environments']> {
  const sets: readonly RequirementSet[] = ['cpu', 'torchtune', 'cuda-train', 'vllm-cpu', 'cuda-serve'];
  try {
    return await Promise.all(
      sets.map(async (set) => {
        const found = await findEnvironment({
          set,
          ...(options.python === undefined ? {} : { python: options.python }),
        });
        return { set, folder: found.folder, installed: found.installed };
      }),
    );
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
    return [];
  }
}
