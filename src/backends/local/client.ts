/** A typed client of docs/sidecar-protocol.md. Every answer is validated; every refusal becomes a typed error. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { z } from 'zod';
import { AdapterRefusedError, AbortedError, SidecarError, TrainingFailedError } from '../../errors.ts';
import type { CanaryReport } from '../backend.ts';
import { servingEngines } from './engines.ts';
import type { SidecarJob } from './job.ts';

/** The version of docs/sidecar-protocol.md that this package speaks. */
const protocolVersion = 1;

const spoken = z.looseObject({ protocol: z.int() });
const health = z.object({
  instance: z.string(),
  engine: z.enum(servingEngines),
  /** Of an engine in a process of its own; `pid`: that which guards it, null while there is none. */
  serving: z
    .object({
      state: z.enum(['ready', 'restarting', 'lost']),
      restarts: z.int(),
      pid: z.int().nullable(),
    })
    .optional(),
  base_model: z.string(),
  base_digest: z.string(),
  tokenizer_digest: z.string(),
  chat_template_digest: z.string(),
  context_length: z.int().positive(),
  training_engine: z.string(),
  models: z.array(z.string()),
  stats: z.object({ generated_tokens: z.number(), peak_memory_bytes: z.number() }),
});

const published = z.object({
  canary: z.object({ tokens: z.number(), mean_gap: z.number(), max_gap: z.number(), base_gap: z.number() }),
});

const adapterOnWire = z.object({ name: z.string(), step: z.int(), folder: z.string(), digest: z.string() });
const adopted = z.object({ adapter: adapterOnWire });
const tokenized = z.object({ tokens: z.array(z.int()) });

const metrics = z.record(z.string(), z.number());
const jobEvent = z.discriminatedUnion('type', [
  z.object({
    seq: z.int(),
    type: z.literal('started'),
    rows: z.int(),
    tokens: z.int(),
    trained_tokens: z.int(),
  }),
  z.object({ seq: z.int(), type: z.literal('gradient_step'), index: z.int(), of: z.int(), metrics }),
  z.object({
    seq: z.int(),
    type: z.literal('ended'),
    adapter: adapterOnWire,
    metrics,
  }),
  z.object({
    seq: z.int(),
    type: z.literal('failed'),
    error: z.object({ code: z.string(), message: z.string(), fix: z.string() }),
  }),
  z.object({ seq: z.int(), type: z.literal('cancelled') }),
]);

const refusal = z.object({ error: z.object({ message: z.string(), code: z.string().nullish() }) });

export type Health = z.infer<typeof health>;
export type JobEvent = z.infer<typeof jobEvent>;

export type AdoptedAdapter = z.infer<typeof adapterOnWire>;
export type TrainerCanary = Extract<CanaryReport, { against: 'trainer' }>;

export interface SidecarAddress {
  /** Without a slash at its end. */
  readonly baseUrl: string;
  readonly token: string;
  /** Default: the global one. */
  readonly fetch?: typeof fetch;
  /** Told when no answer came. */
  readonly onUnreachable?: (cause: unknown) => void;
}

export interface SidecarRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With its query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is, instead of `json`. */
  readonly stream?: ReadableStream<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** What proxies answer for a server that they do not reach. */
const unreachableStatuses = new Set([502, 503, 504]);

export class SidecarClient {
  readonly #address: SidecarAddress;

  constructor(address: SidecarAddress) {
    this.#address = address;
  }

  async health(signal?: AbortSignal): Promise<Health> {
    const answer = await this.#json('GET', '/health', undefined, signal);
    const { protocol } = spoken.parse(answer);
    if (protocol !== protocolVersion) {
      throw new SidecarError(
        `The sidecar speaks version ${String(protocol)} of its protocol, this package version ${String(protocolVersion)}.`,
        { fix: 'Install the sidecar that comes with this very version of `apprentice`.' },
      );
    }
    return health.parse(answer);
  }

  async publish(name: string, step: number, folder: string): Promise<TrainerCanary> {
    const body = { lora_name: `${name}@${String(step)}`, lora_path: folder };
    try {
      const { canary } = published.parse(await this.#json('POST', '/v1/load_lora_adapter', body));
      return {
        against: 'trainer',
        tokens: canary.tokens,
        meanGap: canary.mean_gap,
        maxGap: canary.max_gap,
        baseGap: canary.base_gap,
      };
    } catch (error) {
      throw asRefusal(error);
    }
  }

  async retire(name: string, step: number): Promise<void> {
    await this.#json('POST', '/v1/unload_lora_adapter', { lora_name: `${name}@${String(step)}` });
  }

  /** Takes a PEFT folder from elsewhere as a step of ours. Throws AdapterRefusedError. */
  async adopt(
    source: string,
    adapter: { name: string; step: number; folder: string },
  ): Promise<AdoptedAdapter> {
    try {
      return adopted.parse(await this.#json('POST', '/training/adopt', { source, adapter })).adapter;
    } catch (error) {
      throw asRefusal(error);
    }
  }

  /** The ids of the messages as the chat template renders them. */
  async tokenize(request: {
    readonly messages: readonly object[];
    readonly tools: readonly object[] | null;
    readonly add_generation_prompt: boolean;
  }): Promise<number[]> {
    return tokenized.parse(await this.#json('POST', '/tokenize', request)).tokens;
  }

  async startJob(job: SidecarJob): Promise<void> {
    await this.#json('POST', '/training/jobs', job);
  }

  async cancelJob(jobId: string): Promise<void> {
    await this.#json('POST', `/training/jobs/${jobId}/cancel`, {});
  }

  /** Events with a number above `after`, until the job is over. */
  async *jobEvents(jobId: string, after: number, signal?: AbortSignal): AsyncGenerator<JobEvent> {
    const response = await this.#request(
      'GET',
      `/training/jobs/${jobId}/events?after=${String(after)}`,
      undefined,
      signal,
    );
    if (response.body === null) return;
    const events = response.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream());
    for await (const event of events) yield jobEvent.parse(JSON.parse(event.data));
  }

  async #json(
    method: SidecarRequest['method'],
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<unknown> {
    return (await this.#request(method, path, body, signal)).json();
  }

  #request(
    method: SidecarRequest['method'],
    path: string,
    json?: unknown,
    signal?: AbortSignal,
  ): Promise<Response> {
    return this.send({ method, path, json, ...(signal === undefined ? {} : { signal }) });
  }

  /** A good answer, its body unread. Throws SidecarError, AbortedError. */
  async send(request: SidecarRequest): Promise<Response> {
    const { method, path, json, stream, headers, signal } = request;
    const { baseUrl, token, onUnreachable } = this.#address;
    const body = stream ?? (json === undefined ? undefined : JSON.stringify(json));
    let response: Response;
    try {
      response = await (this.#address.fetch ?? fetch)(`${baseUrl}${path}`, {
        method,
        // A redirect would carry the token to another host.
        redirect: 'error',
        headers: {
          authorization: `Bearer ${token}`,
          'content-type': stream === undefined ? 'application/json' : 'application/octet-stream',
          ...headers,
        },
        ...(body === undefined ? {} : { body }),
        ...(stream === undefined ? {} : { duplex: 'half' }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      if (signal?.aborted === true) throw new AbortedError(`The request ${path}`, error);
      onUnreachable?.(error);
      throw new SidecarError(`The sidecar did not answer ${method} ${path}.`, {
        fix: 'It is tried again by itself; see its last lines where this goes on.',
        cause: error,
        retryable: true,
      });
    }
    if (response.ok) return response;
    throw await this.#refusal(response);
  }

  async #refusal(response: Response): Promise<SidecarError> {
    const parsed = refusal.safeParse(await response.json().catch(() => undefined));
    if (parsed.success) {
      const { message, code } = parsed.data.error;
      // What serves is being started again, or was ended by this very request: it may be sent again.
      const retryable = response.status === 503;
      return new SidecarError(message, {
        fix: '',
        retryable,
        ...(code == null ? {} : { sidecarCode: code }),
      });
    }
    const retryable = unreachableStatuses.has(response.status);
    if (retryable) this.#address.onUnreachable?.(new Error(`HTTP ${String(response.status)}`));
    return new SidecarError(`HTTP ${String(response.status)} from ${this.#address.baseUrl}.`, {
      fix: 'Look at what answers there: is there a proxy in between?',
      retryable,
    });
  }
}

/** The sidecar's refusals of adapters as their own kind of error. */
export function asRefusal(error: unknown): unknown {
  const code = error instanceof SidecarError ? error.sidecarCode : undefined;
  if (!(error instanceof SidecarError) || (code?.startsWith('adapter_') !== true && code !== 'folder_taken'))
    return error;
  return new AdapterRefusedError(error.message, {
    fix: '',
    cause: error,
    retryable: code === 'adapter_unloading',
  });
}

/** Ends of a job that are no fault of its own: what serves did not give the device up, or did not come back. */
const passingFailures = new Set(['handover_refused', 'serving_lost']);

/** What became of the last event of a job that is no result. */
export function jobError(event: Extract<JobEvent, { type: 'failed' | 'cancelled' }>): Error {
  if (event.type === 'cancelled') return new AbortedError('The training job');
  const { code, message, fix } = event.error;
  return new TrainingFailedError(`${message} (${code})`, { fix, retryable: passingFailures.has(code) });
}
