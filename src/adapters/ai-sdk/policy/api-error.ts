/**
 * An error that every major of the AI SDK takes for its own APICallError (it goes by these symbols), so that its
 * retries work on policy calls without importing any version of it.
 */
export class PolicyCallError extends Error {
  readonly statusCode: number | undefined;
  readonly isRetryable: boolean;
  readonly url: string;

  constructor(options: {
    readonly message: string;
    readonly url: string;
    readonly statusCode?: number;
    readonly isRetryable: boolean;
    readonly cause?: unknown;
  }) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AI_APICallError';
    this.url = options.url;
    this.statusCode = options.statusCode;
    this.isRetryable = options.isRetryable;
    for (const marker of ['vercel.ai.error', 'vercel.ai.error.AI_APICallError']) {
      Object.defineProperty(this, Symbol.for(marker), { value: true });
    }
  }
}
