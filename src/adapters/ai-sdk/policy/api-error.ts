/**
 * An error that every major of the AI SDK takes for its own APICallError (it goes by these symbols), so that its
 * retries work on policy calls without importing any version of it.
 */
export class PolicyCallError extends Error {
  readonly url: string;
  readonly statusCode: number | undefined;
  /** The AI SDK reads `retry-after` here. */
  readonly responseHeaders: Readonly<Record<string, string>> | undefined;
  readonly isRetryable: boolean;

  constructor(options: {
    readonly message: string;
    readonly url: string;
    readonly statusCode?: number;
    readonly responseHeaders?: Readonly<Record<string, string>>;
    readonly isRetryable: boolean;
    readonly cause?: unknown;
  }) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AI_APICallError';
    this.url = options.url;
    this.statusCode = options.statusCode;
    this.responseHeaders = options.responseHeaders;
    this.isRetryable = options.isRetryable;
    for (const marker of ['vercel.ai.error', 'vercel.ai.error.AI_APICallError']) {
      Object.defineProperty(this, Symbol.for(marker), { value: true });
    }
  }
}

/** What came while an answer was read, as a PolicyCallError; an abort by the caller stays what it is. */
export function readingError(error: unknown, url: string, signal: AbortSignal | undefined): unknown {
  if (error instanceof PolicyCallError || signal?.aborted === true) return error;
  const message = `The answer of the policy server could not be read: ${String(error)}`;
  return new PolicyCallError({ message, url, isRetryable: true, cause: error });
}
