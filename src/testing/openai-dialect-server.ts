/**
 * A scripted model server for tests: vLLM's OpenAI dialect over real HTTP on the loopback, with token ids, logprobs,
 * tools, streaming, and faults on demand. Answers are scripted by a function of the request.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';

/** One scripted answer. */
export type DialectAnswer =
  | { readonly kind: 'text'; readonly text: string; readonly reasoning?: string }
  | { readonly kind: 'tools'; readonly calls: readonly DialectToolCall[]; readonly text?: string }
  /** An HTTP error instead of an answer. */
  | { readonly kind: 'status'; readonly status: number; readonly message?: string }
  /** Sends `text` where it streams, then breaks off: by a reported error, by the end of the socket, or by waiting. */
  | { readonly kind: 'error-chunk' | 'dead-socket' | 'hang'; readonly text: string };

export interface DialectToolCall {
  readonly id: string;
  readonly name: string;
  /** Sent as it stands, valid JSON or not. */
  readonly arguments: string;
}

export interface DialectRequest {
  readonly headers: IncomingMessage['headers'];
  readonly body: {
    readonly model: string;
    readonly stream?: boolean;
    readonly messages: readonly Readonly<Record<string, unknown>>[];
    readonly [key: string]: unknown;
  };
}

export interface DialectServer {
  /** Ends in `/v1`. */
  readonly baseUrl: string;
  readonly requests: readonly DialectRequest[];
  /** Answers that the client did not wait for. */
  readonly abandoned: number;
  close(): Promise<void>;
}

/** One id for each word; the same text always has the same ids. */
export function fakeTokenIds(text: string): number[] {
  return text.split(/(?<=\s)/).map((word) => {
    let id = 7;
    for (let at = 0; at < word.length; at += 1) id = (id * 31 + word.charCodeAt(at)) % 50_000;
    return id;
  });
}

/** The logprob of the token at `index`. */
export function fakeLogprob(index: number): number {
  return -0.25 - index / 100;
}

/** Starts a server on a free port of the loopback. `answer` sees the request and how many came before it. */
export async function startOpenAIDialectServer(
  answer: (request: DialectRequest, index: number) => DialectAnswer,
): Promise<DialectServer> {
  const requests: DialectRequest[] = [];
  let abandoned = 0;
  const server = createServer((incoming, outgoing) => {
    outgoing.on('close', () => {
      if (!outgoing.writableFinished) abandoned += 1;
    });
    void readText(incoming).then((body) => {
      const request = { headers: incoming.headers, body: JSON.parse(body) as DialectRequest['body'] };
      const scripted = answer(request, requests.length);
      requests.push(request);
      respond(outgoing, request, scripted, requests.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${String(port)}/v1`,
    requests,
    get abandoned() {
      return abandoned;
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function respond(
  outgoing: ServerResponse,
  { body }: DialectRequest,
  answer: DialectAnswer,
  number: number,
): void {
  const head = { id: `chatcmpl-${String(number)}`, created: 1_700_000_000, model: body.model };
  if (answer.kind === 'status') {
    const error = { message: answer.message ?? 'scripted failure', type: 'server_error', code: 'scripted' };
    outgoing.setHeader('retry-after-ms', '1'); // as OpenAI's API has it; keeps tests of retries short
    sendJson(outgoing, answer.status, { error });
  } else if (body.stream === true) {
    stream(outgoing, body, answer, head);
  } else if (answer.kind === 'dead-socket' || answer.kind === 'error-chunk') {
    outgoing.writeHead(200, { 'content-type': 'application/json' }).write('{"id":');
    setImmediate(() => outgoing.destroy());
  } else if (answer.kind === 'text' || answer.kind === 'tools') {
    sendJson(outgoing, 200, { ...head, object: 'chat.completion', ...plain(body, answer) });
  }
}

type Complete = Extract<DialectAnswer, { kind: 'text' | 'tools' }>;

function plain(body: DialectRequest['body'], answer: Complete): object {
  const tokens = tokensOf(answer);
  const message = {
    role: 'assistant',
    content: answer.text ?? null,
    ...(answer.kind === 'text' && answer.reasoning !== undefined ? { reasoning: answer.reasoning } : {}),
    ...(answer.kind === 'tools' ? { tool_calls: answer.calls.map(toolCall) } : {}),
  };
  return {
    ...(body['return_token_ids'] === true ? { prompt_token_ids: promptIds(body) } : {}),
    usage: usageOf(body, tokens.length),
    choices: [{ index: 0, message, finish_reason: finishReason(answer), ...sampled(body, tokens, 0) }],
  };
}

function stream(
  outgoing: ServerResponse,
  body: DialectRequest['body'],
  answer: Exclude<DialectAnswer, { kind: 'status' }>,
  head: object,
): void {
  outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
  const event = (data: unknown): void => {
    outgoing.write(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`);
  };
  const chunk = (delta: object, more: object = {}, finish: string | null = null): void => {
    event({
      ...head,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, finish_reason: finish, ...more }],
    });
  };
  const role = { delta: { role: 'assistant', content: '' }, finish_reason: null, index: 0 };
  const prompt = body['return_token_ids'] === true ? { prompt_token_ids: promptIds(body) } : {};
  // Without a text to break off after, the fault comes before anything else.
  if ('calls' in answer || answer.text !== '' || answer.kind === 'text')
    event({ ...head, object: 'chat.completion.chunk', ...prompt, choices: [role] });
  const tokens = tokensOf(answer);
  deltas(answer).forEach((delta, index) => {
    chunk(delta, sampled(body, tokens.slice(index, index + 1), index));
  });
  switch (answer.kind) {
    case 'hang':
      return;
    case 'error-chunk':
      event({ error: { message: 'scripted failure', type: 'server_error', code: 'scripted' } });
      outgoing.end();
      return;
    case 'dead-socket':
      // What was written goes out first.
      setTimeout(() => outgoing.destroy(), 20);
      return;
    case 'text':
    case 'tools':
      chunk({}, { token_ids: [], logprobs: null }, finishReason(answer));
      event({ ...head, object: 'chat.completion.chunk', choices: [], usage: usageOf(body, tokens.length) });
      event('[DONE]');
      outgoing.end();
      return;
    default:
      answer satisfies never;
  }
}

/** One delta for each token. */
function deltas(answer: Exclude<DialectAnswer, { kind: 'status' }>): object[] {
  const reasoning = answer.kind === 'text' ? words(answer.reasoning) : [];
  const calls = answer.kind === 'tools' ? answer.calls : [];
  return [
    ...reasoning.map((word) => ({ reasoning: word })),
    ...words(answer.text).map((word) => ({ content: word })),
    ...calls.flatMap((call, index) =>
      words(call.arguments).map((word, at) => {
        const first = at === 0 ? { id: call.id, type: 'function' } : {};
        const name = at === 0 ? { name: call.name } : {};
        return { tool_calls: [{ index, ...first, function: { ...name, arguments: word } }] };
      }),
    ),
  ];
}

/** The ids of a scripted answer, as they are sampled: reasoning, text, the arguments of each tool call. */
export function fakeAnswerIds(answer: Exclude<DialectAnswer, { kind: 'status' }>): number[] {
  const reasoning = answer.kind === 'text' ? words(answer.reasoning) : [];
  const calls = answer.kind === 'tools' ? answer.calls.flatMap((call) => words(call.arguments)) : [];
  return [...reasoning, ...words(answer.text), ...calls].flatMap((word) => fakeTokenIds(word));
}

const tokensOf = fakeAnswerIds;

function words(text: string | undefined): string[] {
  return text === undefined || text === '' ? [] : text.split(/(?<=\s)/);
}

function sampled(body: DialectRequest['body'], ids: readonly number[], from: number): object {
  const content = ids.map((_, index) => ({
    token: '',
    logprob: fakeLogprob(from + index),
    top_logprobs: [],
  }));
  return {
    ...(body['return_token_ids'] === true ? { token_ids: ids } : {}),
    ...(body['logprobs'] === true ? { logprobs: { content } } : {}),
  };
}

function promptIds(body: DialectRequest['body']): number[] {
  return body.messages.flatMap((message) => fakeTokenIds(JSON.stringify(message)));
}

function usageOf(body: DialectRequest['body'], completion: number): object {
  return { prompt_tokens: promptIds(body).length, completion_tokens: completion };
}

function toolCall(call: DialectToolCall): object {
  return { id: call.id, type: 'function', function: { name: call.name, arguments: call.arguments } };
}

function finishReason(answer: Complete): string {
  return answer.kind === 'tools' ? 'tool_calls' : 'stop';
}

function sendJson(outgoing: ServerResponse, status: number, value: object): void {
  outgoing.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
