/** Which failures are worth another try, and when. Pure. */
import { seededRandom } from '../../trajectory/random.ts';

/**
 * `rate-limited`: the server asks to come back later (429, 529). `transient`: it, or the way to it, failed (408, 5xx, lost
 * connections). `timed-out`: the rollout's own time was up. `failed`: everything else, by which the agent itself is meant.
 */
export type FailureClass = 'rate-limited' | 'transient' | 'timed-out' | 'failed';

export interface RetryOptions {
  /** Tries in all, by class. Default: 8 rate-limited, 3 transient, 1 timed-out, 1 failed. */
  readonly tries?: Partial<Readonly<Record<FailureClass, number>>>;
  /** Your own classes for errors of your agent; undefined: as by default. */
  readonly classify?: (error: unknown) => FailureClass | undefined;
  /** Milliseconds before the second try, doubled for each further one. Default: 1000. */
  readonly delayMs?: number;
  /** Default: 60 000. */
  readonly maxDelayMs?: number;
}

export const defaultTries: Readonly<Record<FailureClass, number>> = {
  'rate-limited': 8,
  transient: 3,
  'timed-out': 1,
  failed: 1,
};

const lostConnection = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/** The class of what an agent threw: by HTTP status and error code, of the error or of what it wraps. */
export function classifyFailure(error: unknown, classify?: RetryOptions['classify']): FailureClass {
  const own = classify?.(error);
  if (own !== undefined) return own;
  for (const one of chain(error)) {
    const status = field(one, 'statusCode') ?? field(one, 'status');
    if (status === 429 || status === 529) return 'rate-limited';
    if (typeof status === 'number' && (status === 408 || status >= 500)) return 'transient';
    // Any other answer of a server stays what it is.
    if (typeof status === 'number' && status >= 400) return 'failed';
    const code = field(one, 'code');
    if (typeof code === 'string' && lostConnection.has(code)) return 'transient';
  }
  return 'failed';
}

/** Milliseconds before try `tries + 1`: what the server asks for, at least the doubling delay with its jitter. */
export function retryDelay(
  error: unknown,
  tries: number,
  options: RetryOptions & { readonly seed: number },
): number {
  const { delayMs = 1000, maxDelayMs = 60_000, seed } = options;
  const doubling = delayMs * 2 ** (tries - 1) * (0.5 + seededRandom(seed + tries)());
  return Math.min(maxDelayMs, Math.max(doubling, retryAfterMs(error)));
}

/** What the `retry-after` header of a refusal says; 0 where it says nothing. */
export function retryAfterMs(error: unknown): number {
  for (const one of chain(error)) {
    const headers = field(one, 'responseHeaders') ?? field(one, 'headers');
    const milliseconds = Number(header(headers, 'retry-after-ms') ?? Number.NaN);
    if (Number.isFinite(milliseconds)) return Math.max(0, milliseconds);
    const seconds = Number(header(headers, 'retry-after') ?? Number.NaN);
    if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  }
  return 0;
}

/** The error and what it wraps, outermost first: `cause`, and the last error of a client's own retries. */
function chain(error: unknown): unknown[] {
  const found: unknown[] = [];
  let one: unknown = error;
  while (typeof one === 'object' && one !== null && found.length < 10 && !found.includes(one)) {
    found.push(one);
    one = field(one, 'lastError') ?? field(one, 'cause');
  }
  return found;
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (Reflect.get(value, key) as unknown) : undefined;
}

function header(headers: unknown, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  const value = field(headers, name);
  return typeof value === 'string' ? value : undefined;
}
