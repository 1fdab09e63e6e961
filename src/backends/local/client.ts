/** A typed client of docs/sidecar-protocol.md. Every answer is validated; every refusal becomes a typed error. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { z } from 'zod';
import { AdapterRefusedError, AbortedError, SidecarError, TrainingFailedError } from '../../errors.ts';
import type { CanaryReport } from '../backend.ts';
import type { SidecarJob } from './job.ts';

const health = z.object({
  protocol: z.literal(1),
  instance: z.string(),
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
  readonly port: number;
  readonly token: string;
}

export class SidecarClient {
  readonly #address: SidecarAddress;

  constructor(address: SidecarAddress) {
    this.#address = address;
  }

  async health(signal?: AbortSignal): Promise<Health> {
    return health.parse(await this.#json('GET', '/health', undefined, signal));
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

  async #json(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<unknown> {
    return (await this.#request(method, path, body, signal)).json();
  }

  async #request(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    const { port, token } = this.#address;
    let response: Response;
    try {
      response = await fetch(`http://127.0.0.1:${String(port)}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      if (signal?.aborted === true) throw new AbortedError(`The request ${path}`, error);
      throw new SidecarError(`The sidecar did not answer ${method} ${path}.`, {
        fix: 'It is started again by itself; see its last lines where this goes on.',
        cause: error,
        retryable: true,
      });
    }
    if (response.ok) return response;
    const parsed = refusal.safeParse(await response.json().catch(() => undefined));
    const { message, code } = parsed.success
      ? parsed.data.error
      : { message: `HTTP ${String(response.status)}`, code: null };
    throw new SidecarError(message, { fix: '', ...(code == null ? {} : { sidecarCode: code }) });
  }
}

/** The sidecar's refusals of adapters as their own kind of error. */
function asRefusal(error: unknown): unknown {
  const code = error instanceof SidecarError ? error.sidecarCode : undefined;
  if (!(error instanceof SidecarError) || (code?.startsWith('adapter_') !== true && code !== 'folder_taken'))
    return error;
  return new AdapterRefusedError(error.message, {
    fix: '',
    cause: error,
    retryable: code === 'adapter_unloading',
  });
}

/** What became of the last event of a job that is no result. */
export function jobError(event: Extract<JobEvent, { type: 'failed' | 'cancelled' }>): Error {
  if (event.type === 'cancelled') return new AbortedError('The training job');
  return new TrainingFailedError(`${event.error.message} (${event.error.code})`, { fix: event.error.fix });
}
