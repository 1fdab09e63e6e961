/**
 * Requests to the service: bounded in number and time, aborted by a signal, tried again only where that can do no harm.
 * Every failure is a ServiceRequestError that says what was asked, what came back and what to do.
 */
import pLimit, { type LimitFunction } from 'p-limit';
import pRetry from 'p-retry';
import { AbortedError, ServiceRequestError } from '../../errors.ts';
import { refusal, unanswered } from './service-error.ts';
import type { Secret } from './secret.ts';

export interface HttpSettings {
  readonly secret: Secret;
  readonly requestTimeoutMs: number;
  /** Requests of this client at a time. */
  readonly maxConcurrentRequests: number;
  /** The first pause before another try; each further one is twice as long, 8 s at most. */
  readonly retryDelayMs: number;
}

export interface ServiceRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly authorisation: 'bearer' | 'basic' | 'none';
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether doing it twice is the same as once. GET, PUT and DELETE are taken to be. Default for POST: false. */
  readonly repeatable?: boolean;
  readonly signal?: AbortSignal;
}

/** Tries after the first one. */
const retries = 3;
const longestPauseMs = 8000;
/** A longer Retry-After is told to the user instead of waited for. */
const longestRetryAfterMs = 60_000;

export class ServiceHttp {
  readonly #settings: HttpSettings;
  readonly #limit: LimitFunction;

  constructor(settings: HttpSettings) {
    this.#settings = settings;
    this.#limit = pLimit(settings.maxConcurrentRequests);
  }

  /** The body of a good answer as JSON. Throws ServiceRequestError, AbortedError. */
  async json(request: ServiceRequest): Promise<unknown> {
    const text = new TextDecoder().decode(await this.bytes(request));
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new ServiceRequestError(`${label(request)} answered with something other than JSON.`, {
        request: label(request),
        fix: 'Check the base URL: is there a proxy or a login page in between?',
        cause,
      });
    }
  }

  /** The body of a good answer. Throws ServiceRequestError, AbortedError. */
  async bytes(request: ServiceRequest): Promise<Uint8Array> {
    const { signal } = request;
    const repeatable = isRepeatable(request);
    try {
      return await pRetry(() => this.#limit(() => this.#once(request)), {
        retries: repeatable ? retries : 0,
        minTimeout: this.#settings.retryDelayMs,
        maxTimeout: longestPauseMs,
        factor: 2,
        randomize: true,
        shouldRetry: ({ error }) => mayRetry(error),
        onFailedAttempt: async ({ error, retriesLeft }) => {
          const asked = error instanceof ServiceRequestError ? error.retryAfterMs : undefined;
          if (asked !== undefined && retriesLeft > 0 && mayRetry(error)) await pause(asked, signal);
        },
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      if (signal?.aborted === true) throw new AbortedError(`The request ${label(request)}`, signal.reason);
      throw error;
    }
  }

  async #once(request: ServiceRequest): Promise<Uint8Array> {
    const { secret, requestTimeoutMs } = this.#settings;
    const { method, url, body, signal } = request;
    const timeout = AbortSignal.timeout(requestTimeoutMs);
    const once = !isRepeatable(request);
    const authorization = { bearer: secret.bearer, basic: secret.basic, none: undefined }[
      request.authorisation
    ];
    try {
      const response = await fetch(url, {
        method,
        headers: {
          accept: 'application/json',
          'user-agent': 'apprentice',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...request.headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        // A redirect would carry the key to another host.
        redirect: request.authorisation === 'none' ? 'follow' : 'error',
        ...(body === undefined ? {} : { body: body as BodyInit }),
      });
      if (response.ok) return new Uint8Array(await response.arrayBuffer());
      throw refusal(response, secret.redact(await response.text()), label(request), once);
    } catch (error) {
      if (error instanceof ServiceRequestError) throw error;
      if (signal?.aborted === true) throw new AbortedError(`The request ${label(request)}`, signal.reason);
      throw unanswered(error, label(request), once, secret);
    }
  }
}

/** Method and URL, without what stands behind the question mark: signed URLs are keys, too. */
function label({ method, url }: ServiceRequest): string {
  return `${method} ${url.split('?')[0] ?? url}`;
}

function isRepeatable({ repeatable, method }: ServiceRequest): boolean {
  return repeatable ?? method !== 'POST';
}

function mayRetry(error: unknown): boolean {
  if (!(error instanceof ServiceRequestError) || !error.retryable) return false;
  return (error.retryAfterMs ?? 0) <= longestRetryAfterMs;
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
