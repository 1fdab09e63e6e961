/** Trains and samples for real, on this machine: the sidecar of the local backend. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { ensureEnvironment } from '../../backends/local/install.ts';
import { settingsFor } from '../../backends/local/models/registry.ts';
import { jobError } from '../../backends/local/client.ts';
import { toSidecarRow, type SidecarJob } from '../../backends/local/job.ts';
import { tinyModelFolder } from '../../backends/local/locations.ts';
import { Supervisor } from '../../backends/local/supervisor.ts';
import { identityAdapter } from './identity-adapter.ts';
import type { ChatTarget, EngineJob, TrainedAdapter, WandbEngine } from './engine.ts';

export interface SidecarEngineOptions {
  /** Folder or hub id. Default: the tiny model that comes with the repository. */
  readonly baseModel?: string;
  /** The id under which clients ask for it. Default: 'apprentice/tiny'. */
  readonly baseModelId?: string;
  /** The interpreter. Default: the environment of the local backend, installed when first used. */
  readonly python?: string;
  /** OpenMP threads. Default: 1. */
  readonly threads?: number;
  /** LoRA rank; alpha is twice as much. Default: 16. */
  readonly rank?: number;
  /** Holds adapters. Default: a temporary folder, removed at the end. */
  readonly folder?: string;
  readonly onProgress?: (message: string) => void;
}

/** Files that the service's artifacts hold. */
const artifactFiles = ['adapter_config.json', 'adapter_model.safetensors'] as const;

export async function startSidecarEngine(options: SidecarEngineOptions = {}): Promise<WandbEngine> {
  const say = options.onProgress ?? (() => undefined);
  const python = options.python ?? (await ensureEnvironment({ onProgress: say })).python;
  const folder = resolve(options.folder ?? (await mkdtemp(join(tmpdir(), 'wandb-stand-in-'))));
  const baseModel = options.baseModel ?? tinyModelFolder();
  const supervisor = new Supervisor({
    python,
    baseModel,
    threads: options.threads ?? 1,
    dtype: 'float32',
    training: 'transformers',
    serving: { engine: 'transformers' },
    device: 'cpu',
    quantization: 'none',
    model: settingsFor(baseModel, undefined),
    startTimeoutMs: 120_000,
    runFolder: join(folder, 'run'),
    onProgress: (_, message) => {
      say(message);
    },
  });
  try {
    await supervisor.process();
  } catch (error) {
    await supervisor.close();
    throw error;
  }
  const rank = options.rank ?? 16;
  return {
    baseModels: [options.baseModelId ?? 'apprentice/tiny'],
    train: (job) => train(supervisor, folder, job, rank),
    identity: () => identityAdapter(baseModel, rank),
    tokenize: async ({ messages, tools, addGenerationPrompt }) => {
      const { client } = await supervisor.process();
      return client.tokenize({ messages, tools, add_generation_prompt: addGenerationPrompt });
    },
    chat: (body, target, signal) => chat(supervisor, body, target, signal),
    close: async () => {
      await supervisor.close();
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The sidecar's name for a model of the service. */
function adapterName(modelId: string): string {
  return `m-${modelId}`;
}

async function train(
  supervisor: Supervisor,
  root: string,
  job: EngineJob,
  rank: number,
): Promise<TrainedAdapter> {
  const name = adapterName(job.modelId);
  const folder = join(root, 'adapters', name, String(job.step).padStart(4, '0'));
  const { client } = await supervisor.process();
  await client.startJob(toSidecarJob(job, { name, folder, rank }));
  for await (const event of client.jobEvents(job.jobId, 0)) {
    switch (event.type) {
      case 'started':
        break;
      case 'gradient_step':
        job.onGradientStep(event.metrics);
        break;
      case 'ended':
        await publish(supervisor, name, job.step, folder);
        return { folder, files: await readFiles(folder) };
      case 'failed':
      case 'cancelled':
        throw jobError(event);
      default:
        event satisfies never;
    }
  }
  throw new Error(`The events of job ${job.jobId} ended early.`);
}

async function publish(supervisor: Supervisor, name: string, step: number, folder: string): Promise<void> {
  if (supervisor.published.has({ name, step })) return;
  const { client } = await supervisor.process();
  await client.publish(name, step, folder);
  supervisor.published.remember({ name, step, folder });
}

async function readFiles(folder: string): Promise<Record<string, Uint8Array>> {
  const entries = artifactFiles.map(async (file) => [file, await readFile(join(folder, file))] as const);
  return Object.fromEntries(await Promise.all(entries));
}

function toSidecarJob(
  job: EngineJob,
  { name, folder, rank }: { readonly name: string; readonly folder: string; readonly rank: number },
): SidecarJob {
  const { kind, clipLow, clipHigh } = job.loss;
  return {
    job_id: job.jobId,
    adapter: {
      name,
      step: job.step,
      parent: job.parent,
      folder,
      lora: { rank, alpha: 2 * rank, target_modules: null, seed: 3407 },
    },
    loss: {
      kind,
      clip_low: clipLow ?? (kind === 'cispo' ? 1 : 0.2),
      clip_high: clipHigh ?? (kind === 'cispo' ? 4 : 0.2),
      importance_sampling: job.loss.importanceSampling ?? 'token',
      kl_coefficient: job.loss.klCoefficient ?? 0,
      truncated_importance_sampling: job.loss.truncatedImportanceSampling ?? null,
      entropy_coefficient: 0,
    },
    optimizer: {
      learning_rate: job.learningRate,
      betas: [0.9, 0.95],
      weight_decay: 0,
      max_grad_norm: 1,
      epochs: 1,
      tokens_per_batch: 8192,
      gradient_steps: job.gradientSteps,
    },
    rows: job.rows.map(toSidecarRow),
  };
}

async function chat(
  supervisor: Supervisor,
  body: Readonly<Record<string, unknown>>,
  { modelId, step, folder }: ChatTarget,
  signal: AbortSignal,
): Promise<Response> {
  const name = adapterName(modelId);
  if (folder !== null) await publish(supervisor, name, step, folder);
  const { port, token } = await supervisor.process(signal);
  return fetch(`http://127.0.0.1:${String(port)}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, model: folder === null ? 'base' : `${name}@${String(step)}` }),
    signal,
  });
}
