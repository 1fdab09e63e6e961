/**
 * One life of the sidecar: own process group, standard input as a lifeline, token in the environment, readiness proven
 * by its own JSON line and its health answer. When this process goes away, however, the sidecar kills its group.
 */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { SidecarError } from '../../errors.ts';
import { SidecarClient, type Health } from './client.ts';
import type { TrainingEngineName } from './engines.ts';
import type { Sidecar } from './host.ts';
import { cacheFolder, sidecarFolder } from './locations.ts';
import type { Device } from './machine/plan.ts';
import type { ModePlan } from './modes/plan.ts';
import type { ModelSettings } from './models/registry.ts';
import { endLeftOvers, noteProcess } from './process-records.ts';

export type ServingStart =
  | { readonly engine: 'transformers' }
  | {
      readonly engine: 'vllm';
      /** Interpreter of the environment that holds vLLM. */
      readonly python: string;
      /** Absent on a CPU. */
      readonly mode?: ModePlan;
    };

export interface SidecarStart {
  readonly python: string;
  readonly baseModel: string;
  readonly threads: number;
  readonly dtype: 'float32' | 'bfloat16';
  readonly startTimeoutMs: number;
  readonly training: TrainingEngineName;
  readonly serving: ServingStart;
  readonly device: Device;
  readonly quantization: '4bit' | 'none';
  readonly model: ModelSettings;
  /** Holds notes of running sidecars. */
  readonly runFolder: string;
  readonly onProgress: (stage: 'start' | 'model', message: string) => void;
  readonly signal?: AbortSignal;
}

const line = z.discriminatedUnion('event', [
  z.object({ event: z.literal('progress'), stage: z.string(), message: z.string() }),
  z.object({
    event: z.literal('ready'),
    protocol: z.literal(1),
    port: z.int(),
    pid: z.int(),
    instance: z.string(),
  }),
  z.object({ event: z.literal('failed'), code: z.string(), message: z.string(), fix: z.string() }),
]);
type Ready = Extract<z.infer<typeof line>, { event: 'ready' }>;

type Child = ReturnType<typeof spawn>;

/** Lines of standard error that are kept for error messages. */
const tailLines = 40;

export class SidecarProcess implements Sidecar {
  readonly client: SidecarClient;
  readonly health: Health;
  readonly port: number;
  readonly token: string;
  readonly pid: number;
  /** Resolves when the process has ended, whatever ended it. */
  readonly ended: Promise<void>;
  readonly #child: Child;
  readonly #tail: readonly string[];
  readonly #note: string;

  private constructor(parts: {
    child: Child;
    client: SidecarClient;
    health: Health;
    ready: Ready;
    token: string;
    ended: Promise<void>;
    tail: readonly string[];
    note: string;
  }) {
    this.#note = parts.note;
    this.#child = parts.child;
    this.client = parts.client;
    this.health = parts.health;
    this.port = parts.ready.port;
    this.pid = parts.ready.pid;
    this.token = parts.token;
    this.ended = parts.ended;
    this.#tail = parts.tail;
  }

  /** Starts a sidecar and waits until it is ready. Throws SidecarError with the last lines that it wrote. */
  static async start(options: SidecarStart): Promise<SidecarProcess> {
    await endLeftOvers(options.runFolder);
    const token = randomBytes(32).toString('hex');
    const child = spawn(options, token);
    const tail: string[] = [];
    const ended = follow(child, tail);
    try {
      const ready = await waitUntilReady(child, options, tail);
      const client = new SidecarClient({ baseUrl: baseUrlOf(ready.port), token });
      const health = await client.health(AbortSignal.timeout(30_000));
      if (health.instance !== ready.instance) {
        throw new SidecarError(`Port ${String(ready.port)} answers as another process.`, {
          fix: 'Start again: another port is chosen.',
          retryable: true,
        });
      }
      if (health.engine !== options.serving.engine) {
        throw new SidecarError(
          `The sidecar serves with ${health.engine} instead of ${options.serving.engine}.`,
          {
            fix: 'Give an `environment` that holds the sidecar of this very version of `apprentice`.',
          },
        );
      }
      const note = await noteProcess(options.runFolder, ready.pid);
      return new SidecarProcess({ child, client, health, ready, token, ended, tail, note });
    } catch (error) {
      child.nodeChildProcess.ref();
      killGroup(child);
      await ended;
      throw error;
    }
  }

  get baseUrl(): string {
    return baseUrlOf(this.port);
  }

  /** The last lines of its log. */
  get stderrTail(): string {
    return this.#tail.join('\n');
  }

  /** Ends the process and everything that it started; resolves once it is gone. */
  async stop(): Promise<void> {
    // Waiting for the end must keep the host alive, or it would leave in the middle.
    this.#child.nodeChildProcess.ref();
    killGroup(this.#child);
    await this.ended;
    await rm(this.#note, { force: true });
  }
}

function baseUrlOf(port: number): string {
  return `http://127.0.0.1:${String(port)}`;
}

function spawn(options: SidecarStart, token: string) {
  const { python, threads } = options;
  const child = execa(
    python,
    ['-m', 'apprentice_sidecar', '--cache', cacheFolder(), ...sidecarArguments(options)],
    {
      env: {
        PYTHONPATH: join(sidecarFolder(), 'src'),
        PYTHONUNBUFFERED: '1',
        APPRENTICE_SIDECAR_TOKEN: token,
        OMP_NUM_THREADS: String(threads),
        TOKENIZERS_PARALLELISM: 'false',
        // So that torch counts GPUs as nvidia-smi does.
        CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
        HF_HUB_DISABLE_TELEMETRY: '1',
      },
      detached: true, // its own process group
      cleanup: true,
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
      buffer: false,
      reject: false,
    },
  );
  // Neither the child nor its pipes keep the host alive; the lifeline ends with the host.
  child.nodeChildProcess.unref();
  for (const pipe of [child.stdin, child.stdout, child.stderr]) unrefPipe(pipe);
  return child;
}

/** The command line that a sidecar of these settings is started with. */
export function sidecarArguments(
  options: Pick<
    SidecarStart,
    | 'baseModel'
    | 'threads'
    | 'dtype'
    | 'training'
    | 'serving'
    | 'device'
    | 'quantization'
    | 'model'
    | 'runFolder'
  >,
): readonly string[] {
  const { model } = options;
  return [
    ...['--model', options.baseModel],
    ...['--threads', String(options.threads)],
    ...['--dtype', options.dtype],
    ...['--training', options.training],
    ...['--device', options.device],
    ...(options.quantization === '4bit' ? ['--quantization', '4bit'] : []),
    ...(model.contextLength === undefined ? [] : ['--context-length', String(model.contextLength)]),
    ...(Object.keys(model.chatTemplateKwargs).length === 0
      ? []
      : ['--chat-template-kwargs', JSON.stringify(model.chatTemplateKwargs)]),
    ...servingArguments(options.serving, options),
  ];
}

function servingArguments(
  serving: ServingStart,
  { model, runFolder }: Pick<SidecarStart, 'model' | 'runFolder'>,
): readonly string[] {
  switch (serving.engine) {
    case 'transformers':
      return [];
    case 'vllm':
      return [
        ...['--serving', 'vllm', '--serving-python', serving.python, '--serving-state', runFolder],
        ...['--tool-call-parser', model.toolCallParser ?? 'none'],
        ...(model.reasoningParser === null ? [] : ['--reasoning-parser', model.reasoningParser]),
        ...(serving.mode?.kind === 'dedicated' ? ['--serving-gpus', serving.mode.servingGpus.join(',')] : []),
      ];
    default:
      return serving satisfies never;
  }
}

/** Pipes to children are sockets, though their types say only stream. */
function unrefPipe(pipe: object): void {
  if (pipe instanceof Socket) pipe.unref();
}

async function follow(child: Child, tail: string[]): Promise<void> {
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text: string) => {
    tail.push(...text.split('\n').filter((one) => one.trim() !== ''));
    if (tail.length > tailLines) tail.splice(0, tail.length - tailLines);
  });
  await child;
}

async function waitUntilReady(child: Child, options: SidecarStart, tail: readonly string[]): Promise<Ready> {
  const failed = (message: string, fix: string): SidecarError =>
    new SidecarError(message, { fix, stderrTail: tail.join('\n'), retryable: false });
  return new Promise<Ready>((resolve, reject) => {
    // This timer may keep the host alive: somebody waits for the start.
    const timer = setTimeout(() => {
      reject(
        failed(
          `The sidecar was not ready ${String(options.startTimeoutMs)} ms after its last sign of life.`,
          'Raise `startTimeoutMs`, or look at its log.',
        ),
      );
    }, options.startTimeoutMs);
    const onAbort = (): void => {
      reject(failed('The start of the sidecar was aborted.', 'Start again.'));
    };
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const settle = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    };
    let rest = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const one of lines) {
        const parsed = line.safeParse(parseJson(one));
        if (!parsed.success) continue;
        const event = parsed.data;
        if (event.event === 'progress') {
          timer.refresh(); // a model that is fetched and converted first takes longer
          options.onProgress(event.stage === 'model' ? 'model' : 'start', event.message);
        } else if (event.event === 'ready') {
          settle();
          resolve(event);
        } else {
          settle();
          reject(failed(`${event.message} (${event.code})`, event.fix));
        }
      }
    });
    void child.then((result) => {
      settle();
      const how = result.signal ?? `exit code ${String(result.exitCode ?? result.code ?? '?')}`;
      const last = tail.slice(-8).join('\n');
      reject(
        failed(`The sidecar ended before it was ready (${how}).\n${last}\n`, 'Mend what its last lines say.'),
      );
    });
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // other libraries print to standard output, too
  }
}

function killGroup(child: Child): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    // Gone already, or no groups on this system.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) child.kill('SIGKILL');
  }
}
