/** Which service the examples train at: W&B where there is a key, otherwise the stand-in on this machine. */
import { serverlessBackend, type ServerlessBackend } from 'apprentice/backends/serverless';
import { startSidecarEngine, startWandbServer } from 'apprentice/testing/wandb-server';

export interface Service {
  readonly backend: ServerlessBackend;
  readonly baseModel: string;
  /** Says which one it is. */
  readonly says: string;
  close(): Promise<void>;
}

/** W&B Training itself. Entity and project may be set; the base model is one that the service offers. */
export function wandbService(): Service {
  const { WANDB_ENTITY: entity, APPRENTICE_BASE_MODEL: baseModel = 'OpenPipe/Qwen3-14B-Instruct' } =
    process.env;
  return {
    backend: serverlessBackend(entity === undefined ? {} : { entity }),
    baseModel,
    says: `Training ${baseModel} at W&B, with the key in WANDB_API_KEY. Inference and storage are billed there.`,
    close: () => Promise.resolve(),
  };
}

/** The same protocol on 127.0.0.1: a tiny model, trained for real on this machine's CPU. */
export async function standInService(note: (message: string) => void): Promise<Service> {
  const engine = await startSidecarEngine({ onProgress: note });
  const server = await startWandbServer({ engine });
  const { apiKey, trainingUrl, wandbUrl } = server;
  return {
    backend: serverlessBackend({ apiKey, trainingUrl, wandbUrl, pollMs: 100 }),
    baseModel: 'apprentice/tiny',
    says: `Training at the stand-in of W&B (${trainingUrl}): its protocol, this machine, no account.`,
    close: () => server.close(),
  };
}

/** W&B where WANDB_API_KEY is set, otherwise the stand-in. */
export function chooseService(note: (message: string) => void): Promise<Service> {
  const key = process.env['WANDB_API_KEY'];
  return key === undefined || key === '' ? standInService(note) : Promise.resolve(wandbService());
}
