/** Responses made anew around a body that was read or is tapped; to the client they are what they were. */
import { Readable } from 'node:stream';
import { ReadableStream as NodeReadableStream } from 'node:stream/web';

/** The body as a web stream. openai 4 goes by node-fetch, whose bodies are Node streams. */
export function webBody(response: Response): ReadableStream<Uint8Array> | undefined {
  const body: unknown = response.body;
  if (body instanceof ReadableStream) return body as ReadableStream<Uint8Array>;
  // Not Readable.toWeb: it takes a socket that dies for an abort.
  return body instanceof Readable ? (NodeReadableStream.from(body) as ReadableStream<Uint8Array>) : undefined;
}

/** `original` with another body: of the same class, with the same status, headers and URL. */
export function withBody(original: Response, body: string | ReadableStream<Uint8Array>): Response {
  const { status, statusText, headers, url } = original;
  const isNode = (original.body as unknown) instanceof Readable;
  const given =
    isNode && typeof body !== 'string' ? Readable.from(body, { objectMode: false, highWaterMark: 0 }) : body;
  return from(original, construct(original, given, body, { status, statusText, headers, url }));
}

/** A constructed response does not know where it came from. */
function from({ url, redirected }: Response, made: Response): Response {
  if (made.url !== url) Object.defineProperty(made, 'url', { value: url });
  if (made.redirected !== redirected) Object.defineProperty(made, 'redirected', { value: redirected });
  return made;
}

/** Of the same class where it can be constructed like one, else a plain response: what was read must not be lost. */
function construct(
  original: Response,
  given: unknown,
  body: string | ReadableStream<Uint8Array>,
  init: ResponseInit & { readonly url: string },
): Response {
  const Class = original.constructor as new (body: unknown, init: object) => Response;
  try {
    return new Class(given, init);
  } catch {
    return new Response(body, init);
  }
}

/** A policy's response with its body rewritten: headers that speak of the old one go. */
export function rewritten(original: Response, body: string | ReadableStream<Uint8Array>): Response {
  const { status, statusText } = original;
  const headers = new Headers(original.headers);
  for (const name of ['content-length', 'content-encoding', 'transfer-encoding']) headers.delete(name);
  return from(original, new Response(body, { status, statusText, headers }));
}

export function isEventStream(response: Response): boolean {
  return contentType(response).includes('text/event-stream');
}

export function isJson(response: Response): boolean {
  return contentType(response).includes('json');
}

/** Tests of users put plain objects in the place of responses. */
function contentType(response: Partial<Response>): string {
  return response.headers?.get('content-type') ?? '';
}
