/** The HTTP of the stand-in: routes with named parts, JSON bodies, errors in the service's form. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { Fault, Faults } from './faults.ts';

/** A refusal: `{"detail": …}` with a status. */
export class HttpError extends Error {
  readonly status: number;
  readonly detail: unknown;
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, detail: unknown, headers: Readonly<Record<string, string>> = {}) {
    super(`HTTP ${String(status)}`);
    this.status = status;
    this.detail = detail;
    this.headers = headers;
  }
}

export interface Exchange {
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** Ends when the client goes away. */
  readonly signal: AbortSignal;
  /** The body as JSON; throws HttpError 422 as FastAPI does. */
  json(): unknown;
}

export type Answer =
  | { readonly kind: 'json'; readonly status?: number; readonly value: unknown }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'stream'; readonly stream: AsyncIterable<string> };

export type Handler = (exchange: Exchange) => Answer | Promise<Answer>;

export interface Route {
  readonly method: string;
  /** With `:name` for a part that is read, `*` for all that follows. */
  readonly path: string;
  readonly authorise: (headers: IncomingMessage['headers']) => void;
  readonly handle: Handler;
}

/** One request as it came in, for tests. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface HttpServer {
  readonly port: number;
  readonly requests: readonly SeenRequest[];
  close(): Promise<void>;
}

/** Requests that are kept for `requests`. */
const keptRequests = 2000;

export async function startHttpServer(options: {
  readonly routes: readonly Route[];
  readonly faults: Faults;
  readonly port: number;
}): Promise<HttpServer> {
  const requests: SeenRequest[] = [];
  const server = createServer((incoming, outgoing) => {
    respond(incoming, outgoing, options, requests).catch(() => outgoing.destroy());
  });
  await listen(server, options.port);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
}

async function respond(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { routes, faults }: { readonly routes: readonly Route[]; readonly faults: Faults },
  requests: SeenRequest[],
): Promise<void> {
  const { method = 'GET', headers } = incoming;
  const url = new URL(incoming.url ?? '/', 'http://stand-in');
  const body = await buffer(incoming);
  requests.push({ method, path: url.pathname + url.search, headers, body: body.toString('utf8') });
  if (requests.length > keptRequests) requests.shift();
  const fault = faults.take(method, url.pathname);
  if (fault !== undefined && fault.kind !== 'drop-after') {
    sendFault(outgoing, fault, headers);
    return;
  }
  const gone = new AbortController();
  outgoing.on('close', () => {
    gone.abort();
  });
  const exchange = { query: url.searchParams, headers, body, signal: gone.signal };
  const answer = await answerTo(routes, method, url.pathname, exchange);
  if (fault !== undefined) outgoing.destroy();
  else if (answer instanceof HttpError) {
    json(outgoing, answer.status, { detail: answer.detail }, answer.headers);
  } else await write(outgoing, answer);
}

async function answerTo(
  routes: readonly Route[],
  method: string,
  path: string,
  common: Omit<Exchange, 'parameters' | 'json'>,
): Promise<Answer | HttpError> {
  try {
    let known = false;
    for (const route of routes) {
      const parameters = match(route.path, path);
      if (parameters === undefined) continue;
      known = true;
      if (route.method !== method) continue;
      route.authorise(common.headers);
      return await route.handle({ ...common, parameters, json: () => parse(common.body) });
    }
    return known ? new HttpError(405, 'Method Not Allowed') : new HttpError(404, 'Not Found');
  } catch (error) {
    if (error instanceof HttpError) return error;
    return new HttpError(500, `Internal Server Error: ${String(error)}`);
  }
}

function match(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split('/');
  const found = path.split('/');
  if (!pattern.endsWith('*') && wanted.length !== found.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = found[index];
    if (part === '*') return { ...parameters, rest: found.slice(index).map(decodeURIComponent).join('/') };
    if (value === undefined) return undefined;
    if (part.startsWith(':')) parameters[part.slice(1)] = decodeURIComponent(value);
    else if (part !== value) return undefined;
  }
  return parameters;
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new HttpError(422, [{ loc: ['body', 0], msg: 'JSON decode error', type: 'json_invalid' }]);
  }
}

async function write(outgoing: ServerResponse, answer: Answer): Promise<void> {
  switch (answer.kind) {
    case 'json':
      json(outgoing, answer.status ?? 200, answer.value);
      return;
    case 'bytes':
      outgoing.writeHead(200, { 'content-type': 'application/octet-stream' }).end(answer.bytes);
      return;
    case 'stream':
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
      for await (const text of answer.stream) outgoing.write(text);
      outgoing.end();
      return;
    default:
      answer satisfies never;
  }
}

function json(outgoing: ServerResponse, status: number, value: unknown, headers = {}): void {
  outgoing.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

const html524 =
  '<!DOCTYPE html><html><head><title>524: A timeout occurred</title></head><body>Error code 524</body></html>';

function sendFault(outgoing: ServerResponse, fault: Fault, headers: IncomingMessage['headers']): void {
  switch (fault.kind) {
    case 'html-524':
      outgoing.writeHead(524, { 'content-type': 'text/html; charset=UTF-8' }).end(html524);
      return;
    case 'status':
      json(outgoing, fault.status, { detail: fault.detail ?? 'scripted failure' }, fault.headers);
      return;
    case 'rate-limit':
      json(
        outgoing,
        429,
        { detail: 'Concurrency limit reached for requests' },
        { 'retry-after': String(fault.retryAfterSeconds) },
      );
      return;
    case 'echo-headers':
      json(outgoing, 400, { detail: `Bad request with headers ${JSON.stringify(headers)}` });
      return;
    case 'drop-before':
    case 'drop-after':
      outgoing.destroy();
      return;
    case 'hang':
      return;
    default:
      fault satisfies never;
  }
}
