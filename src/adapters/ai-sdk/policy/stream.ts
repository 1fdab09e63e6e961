/** Server-sent events of a completion → the AI SDK's stream parts. */
import { endMark, EventReader } from '../../../capture/wire/events.ts';
import { chunk, reportedError } from '../../../capture/wire/schema.ts';
import type { Part, SpecificationVersion } from '../specification.ts';
import { PolicyCallError, readingError } from './api-error.ts';
import { warnings } from './shapes.ts';
import type { StreamedAnswer } from './streamed-answer.ts';
import type { Unsupported } from './unsupported.ts';

export interface StreamOptions {
  readonly response: Response;
  readonly answer: StreamedAnswer;
  readonly version: SpecificationVersion;
  readonly unsupported: readonly Unsupported[];
  readonly signal: AbortSignal | undefined;
}

/**
 * Resolves with the parts when the first chunk has come; rejects with a retryable error where none comes. Later, an
 * error that the server reports becomes an error part and a finish part; a stream that breaks off errors.
 */
export async function openStream(options: StreamOptions): Promise<ReadableStream<Part>> {
  const reader = new PartReader(options);
  const first = await reader.next();
  if (first.failure !== undefined) {
    await reader.cancel(first.failure);
    throw first.failure;
  }
  const start = { type: 'stream-start', warnings: warnings(options.version, options.unsupported) };
  let pending: Step | undefined = { ...first, parts: [start, ...first.parts] };
  return new ReadableStream<Part>(
    {
      async pull(controller) {
        const step = pending ?? (await reader.next());
        pending = undefined;
        const parts = step.failure === undefined ? step.parts : options.answer.fail(step.failure);
        for (const part of parts) controller.enqueue(part);
        if (step.last) controller.close();
      },
      cancel: (reason: unknown) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

interface Step {
  readonly parts: readonly Part[];
  readonly last: boolean;
  /** An error that the server reported in the stream. */
  readonly failure?: PolicyCallError;
}

class PartReader {
  readonly #options: StreamOptions;
  readonly #events: EventReader;

  constructor(options: StreamOptions) {
    this.#options = options;
    const { body, url } = options.response;
    if (body === null)
      throw new PolicyCallError({ message: 'The policy server sent no body.', url, isRetryable: true });
    this.#events = new EventReader(body);
  }

  /** Reads until there is a part to give. Throws PolicyCallError, or the AbortSignal's reason. */
  async next(): Promise<Step> {
    const { answer, response, signal } = this.#options;
    try {
      for (;;) {
        const event = await this.#events.next();
        if (event === undefined) throw new Error('it broke off before its end.');
        if (event === endMark) return { parts: answer.end(), last: true };
        const data: unknown = JSON.parse(event);
        const message = reportedError(data);
        if (message !== undefined) {
          const failure = new PolicyCallError({ message, url: response.url, isRetryable: true });
          return { parts: [], last: true, failure };
        }
        const parts = answer.push(chunk.parse(data));
        if (parts.length > 0) return { parts, last: false };
      }
    } catch (error) {
      throw readingError(error, response.url, signal);
    }
  }

  async cancel(reason: unknown): Promise<void> {
    await this.#events.cancel(reason);
  }
}
