/** What a failed request means for the user. Pure. */
import { z } from 'zod';
import { ServiceRequestError } from '../../errors.ts';
import type { Secret } from './secret.ts';

const issue = z.looseObject({ loc: z.array(z.union([z.string(), z.number()])), msg: z.string() });
const problem = z.looseObject({ detail: z.union([z.string(), z.array(issue)]) });
const openAiProblem = z.looseObject({ error: z.union([z.string(), z.looseObject({ message: z.string() })]) });

const fixes: Readonly<Record<number, string>> = {
  400: 'Mend what the service names.',
  401: 'Check the key (WANDB_API_KEY or `apiKey`), and that it belongs to the entity.',
  402: 'The account’s quota or spend cap is used up: raise it in the billing settings of W&B.',
  403: 'Use an entity (a team) of the key; some countries and personal entities are not served.',
  404: 'Check the base URLs and whether the model or job was deleted.',
  409: 'Choose another name, or look at what stands in the way.',
  422: 'This is a fault of this package or of its version: report it with the fields that are named.',
  429: 'Lower `limits.concurrency`, or wait as long as the service asks.',
};

/** The error of an answer that is none of 2xx. `text` holds no key any more; `once`: it must not be asked twice. */
export function refusal(
  response: Response,
  text: string,
  request: string,
  once: boolean,
): ServiceRequestError {
  const { status } = response;
  const detail = detailOf(text, response.headers.get('content-type') ?? '');
  // The edge gives up before the service does; what a POST began may go on.
  const mayBeDone = status >= 500 && once;
  const retryAfterMs = retryAfter(response.headers);
  const wait =
    retryAfterMs === undefined ? '' : ` It asks to wait ${String(Math.ceil(retryAfterMs / 1000))} s.`;
  return new ServiceRequestError(`${request} failed with HTTP ${String(status)}: ${detail}.${wait}`, {
    request,
    status,
    detail,
    mayBeDone,
    retryable: isTransient(status, response.headers),
    fix: fixes[status] ?? (status >= 500 ? transientFix(mayBeDone) : 'Look at what the service says.'),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** The error of a request that got no answer. */
export function unanswered(
  error: unknown,
  request: string,
  once: boolean,
  secret: Secret,
): ServiceRequestError {
  const timedOut = error instanceof DOMException && error.name === 'TimeoutError';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  // Nobody was reached, so nothing can have been done.
  const never = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'].includes(code);
  const mayBeDone = once && !never;
  const what = timedOut
    ? 'it took too long'
    : secret.redact(cause instanceof Error ? cause.message : String(cause));
  return new ServiceRequestError(`${request} got no answer: ${what}.`, {
    request,
    mayBeDone,
    retryable: true,
    fix: never ? 'Check the network and the base URL.' : transientFix(mayBeDone),
  });
}

function transientFix(mayBeDone: boolean): string {
  return mayBeDone
    ? 'The service may have done it all the same: look before you ask again.'
    : 'Try again later; the service or the way to it is disturbed.';
}

function isTransient(status: number, headers: Headers): boolean {
  const asked = headers.get('x-should-retry');
  if (asked === 'true') return true;
  if (asked === 'false') return false;
  return status === 408 || status === 409 || status === 429 || status >= 500;
}

function retryAfter(headers: Headers): number | undefined {
  const milliseconds = Number(headers.get('retry-after-ms') ?? Number.NaN);
  if (Number.isFinite(milliseconds)) return milliseconds;
  const text = headers.get('retry-after');
  if (text === null) return undefined;
  const seconds = Number(text);
  if (Number.isFinite(seconds)) return seconds * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** What the service says, as one line of text. */
function detailOf(text: string, type: string): string {
  if (type.includes('html'))
    return `a page of HTML ("${title(text)}"), from the edge rather than the service`;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return text.trim() === '' ? 'no details' : short(text);
  }
  const parsed = problem.safeParse(body);
  if (parsed.success) {
    const { detail } = parsed.data;
    if (typeof detail === 'string') return short(detail);
    return short(detail.map((one) => `${one.loc.join('.')}: ${one.msg}`).join('; '));
  }
  const other = openAiProblem.safeParse(body);
  if (!other.success) return short(text);
  return short(typeof other.data.error === 'string' ? other.data.error : other.data.error.message);
}

function title(html: string): string {
  return short(/<title>([^<]*)<\/title>/i.exec(html)?.[1]?.trim() ?? 'without a title');
}

function short(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim().replace(/\.$/, '');
  return line.length > 600 ? `${line.slice(0, 600)}…` : line;
}
