/** The demo's backends: what trains, what it can be asked for, and where the result lies. */
import type { Backend, TrainingSettings } from 'apprentice';
import { ensureEnvironment, localBackend, tinyModelFolder } from 'apprentice/backends/local';
import { standInService } from '../serverless/service.ts';

export interface DemoBackend {
  readonly backend: Backend;
  readonly baseModel: string;
  /** What this backend can be asked for, the same task given. */
  readonly training: TrainingSettings;
  readonly installSeconds: number;
  /** Where the weights are, and what left the machine. */
  readonly closing: (folder: string) => readonly string[];
  close(): Promise<void>;
}

export const backendNames = ['local', 'serverless'] as const;
export type BackendName = (typeof backendNames)[number];

export const trainingNames = ['transformers', 'torchtune'] as const;

/** What `localBackend` is asked for beside its defaults. */
export interface DemoEngines {
  readonly training: (typeof trainingNames)[number];
}

export async function demoBackend(
  name: BackendName,
  engines: DemoEngines,
  note: (message: string) => void,
): Promise<DemoBackend> {
  const set = engines.training === 'torchtune' ? 'torchtune' : 'cpu';
  const environment = await ensureEnvironment({ set, onProgress: note });
  note(
    environment.installed
      ? `Python environment installed in ${environment.seconds.toFixed(0)} s (${environment.folder})`
      : `Python environment ready (${environment.folder})`,
  );
  const installSeconds = environment.seconds;
  switch (name) {
    case 'local':
      return {
        backend: localBackend({ environment: environment.python, device: 'cpu', ...engines }),
        baseModel: tinyModelFolder(),
        training: {
          optimizer: { learningRate: 1e-3, gradientSteps: 4, betas: [0.9, 0.95] },
          // Without it, the policy becomes certain of a wrong rule now and then, and no group shows it a better one.
          loss: { entropyCoefficient: 0.03 },
          lora: { rank: 16, alpha: 32 },
        },
        installSeconds,
        closing: (folder) => [
          `Adapters, one folder a step: ${folder}/models/desk/adapters`,
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
        training: { optimizer: { learningRate: 1e-3 } },
        installSeconds,
        closing: (folder) => [
          'The adapters were at the stand-in and are gone with it; npm run example:serverless fetches one.',
          `Nothing left this machine. To remove it all, delete ${folder}.`,
        ],
      };
    }
    default:
      return name satisfies never;
  }
}
