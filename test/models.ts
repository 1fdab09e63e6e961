/** Scripted language models of each specification, and the AI SDK's majors side by side. */
import * as ai5 from 'ai5';
import * as ai6 from 'ai6';
import * as ai7 from 'ai7';
import type { Part } from '../src/adapters/ai-sdk/specification.ts';

/** What the tests use of the AI SDK, the same in every major. */
export interface AiSdk {
  generateText(options: object): Promise<Record<string, unknown>>;
  streamText(options: object): Streamed;
  generateObject(options: object): Promise<Record<string, unknown>>;
  streamObject(options: object): Streamed & { readonly object: PromiseLike<unknown> };
  tool(options: object): unknown;
  stepCountIs(count: number): unknown;
  readonly Output: { object(options: object): unknown };
  wrapLanguageModel(options: { model: object; middleware: object }): object;
}

export interface Streamed {
  readonly fullStream: AsyncIterable<unknown>;
  readonly text: PromiseLike<string>;
  consumeStream(): PromiseLike<void>;
}

/** The agent class of a major. */
export interface Agent {
  generate(options: object): Promise<Record<string, unknown>>;
  stream(options: object): Streamed | Promise<Streamed>;
}

/** Makes an agent with whatever this major calls its class; `instructions` are its system prompt. */
export function makeAgent(ai: AiSdk, settings: { readonly instructions: string }): Agent {
  const names = ai as unknown as Record<string, new (settings: object) => Agent>;
  const Class = 'ToolLoopAgent' in ai ? names['ToolLoopAgent'] : names['Experimental_Agent'];
  if (Class === undefined) throw new Error('This major has no agent class.');
  return new Class({ ...settings, system: settings.instructions });
}

/** The setting, and the field of the result, for structured output of `generateText`. */
export const outputField = (version: Version) => (version === 'v2' ? 'experimental_output' : 'output');

(globalThis as { AI_SDK_LOG_WARNINGS?: boolean }).AI_SDK_LOG_WARNINGS = false;

export const majors = [
  { name: 'ai 5', ai: ai5 as unknown as AiSdk, version: 'v2' },
  { name: 'ai 6', ai: ai6 as unknown as AiSdk, version: 'v3' },
  { name: 'ai 7', ai: ai7 as unknown as AiSdk, version: 'v4' },
] as const;

export type Version = (typeof majors)[number]['version'];

/** One scripted answer. */
export type Scripted =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'tool'; readonly name: string; readonly input: string; readonly id?: string }
  /** Content as providers with more to say have it: reasoning, sources, metadata of their own. */
  | { readonly kind: 'rich'; readonly text: string }
  | { readonly kind: 'error' }
  /** An error that the AI SDK tries again. */
  | { readonly kind: 'overloaded' }
  /** A stream that breaks off after its first words. */
  | { readonly kind: 'broken' }
  /** Stops in the middle until the caller aborts. */
  | { readonly kind: 'hang' };

const finish = (version: Version, reason: string): unknown =>
  version === 'v2' ? reason : { unified: reason, raw: reason };

const usage = (version: Version): unknown =>
  version === 'v2'
    ? { inputTokens: 3, outputTokens: 2, totalTokens: 5 }
    : {
        inputTokens: { total: 3, noCache: 3, cacheRead: 0, cacheWrite: 0 },
        outputTokens: { total: 2, text: 2, reasoning: 0 },
      };

/** A model that gives the scripted answers in their order; a class with a private field, as real providers have. */
export class ScriptedModel {
  readonly specificationVersion: Version;
  readonly provider = 'scripted';
  readonly modelId = 'scripted-1';
  readonly supportedUrls = {};
  /** The options of every call, by reference. */
  readonly received: unknown[] = [];
  readonly #answers: Scripted[];
  #count = 0;

  constructor(version: Version, answers: readonly Scripted[]) {
    this.specificationVersion = version;
    this.#answers = [...answers];
  }

  get calls(): number {
    return this.#count;
  }

  async doGenerate(options: { readonly abortSignal?: AbortSignal }): Promise<object> {
    const answer = this.#next(options);
    if (answer.kind === 'error' || answer.kind === 'broken') throw new Error('the model is out of order');
    if (answer.kind === 'hang') await aborted(options.abortSignal);
    const version = this.specificationVersion;
    return {
      content: contentOf(answer),
      finishReason: finish(version, answer.kind === 'tool' ? 'tool-calls' : 'stop'),
      usage: usage(version),
      warnings: [],
      providerMetadata: { scripted: { count: this.#count } },
      request: { body: 'what was sent' },
      response: {
        id: `response-${String(this.#count)}`,
        modelId: 'scripted-1',
        timestamp: new Date(0),
        headers: { 'x-request-id': '1' },
        body: { raw: true },
      },
    };
  }

  doStream(options: { readonly abortSignal?: AbortSignal }): Promise<{ stream: ReadableStream<Part> }> {
    const answer = this.#next(options);
    const version = this.specificationVersion;
    const parts = streamOf(answer, version, this.#count);
    const stream = new ReadableStream<Part>(
      {
        async pull(controller) {
          const part = parts.shift();
          if (part !== undefined) controller.enqueue(part);
          else if (answer.kind === 'hang') await aborted(options.abortSignal);
          else if (answer.kind === 'broken') controller.error(new Error('the line is dead'));
          else controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    return Promise.resolve({
      stream,
      request: { body: 'what was sent' },
      response: { headers: { 'x-request-id': '1' } },
    });
  }

  #next(options: unknown): Scripted {
    this.#count += 1;
    this.received.push(options);
    const answer = this.#answers.shift();
    if (answer === undefined) throw new Error('The script has no further answer.');
    if (answer.kind === 'overloaded') throw overloaded();
    return answer;
  }
}

/** What every major takes for its own APICallError. */
function overloaded(): Error {
  return Object.assign(new Error('the model is overloaded'), {
    name: 'AI_APICallError',
    [Symbol.for('vercel.ai.error')]: true,
    [Symbol.for('vercel.ai.error.AI_APICallError')]: true,
    isRetryable: true,
    responseHeaders: { 'retry-after-ms': '1' },
  });
}

const signed = { providerMetadata: { scripted: { signature: 'signed' } } };
const source = { type: 'source', sourceType: 'url', id: 's', url: 'https://example.com/', title: 'A source' };

function contentOf(answer: Scripted): Part[] {
  if (answer.kind === 'text') return [{ type: 'text', text: answer.text }];
  if (answer.kind === 'rich')
    return [
      { type: 'reasoning', text: 'Let me see.', ...signed },
      source,
      { type: 'text', text: answer.text, ...signed },
    ];
  if (answer.kind !== 'tool') return [];
  return [{ type: 'tool-call', toolCallId: callId(answer), toolName: answer.name, input: answer.input }];
}

function callId({ id = 'call-1' }: { readonly id?: string }): string {
  return id;
}

function streamOf(answer: Scripted, version: Version, count: number): Part[] {
  const head: Part[] = [
    { type: 'stream-start', warnings: [] },
    {
      type: 'response-metadata',
      id: `response-${String(count)}`,
      modelId: 'scripted-1',
      timestamp: new Date(0),
    },
  ];
  const end = (reason: string): Part => ({
    type: 'finish',
    finishReason: finish(version, reason),
    usage: usage(version),
  });
  switch (answer.kind) {
    case 'text': {
      const deltas = answer.text.split(/(?<= )/).map((delta) => ({ type: 'text-delta', id: 't', delta }));
      return [
        ...head,
        { type: 'text-start', id: 't' },
        ...deltas,
        { type: 'text-end', id: 't' },
        end('stop'),
      ];
    }
    case 'rich':
      return [
        ...head,
        { type: 'reasoning-start', id: 'r' },
        { type: 'reasoning-delta', id: 'r', delta: 'Let me ' },
        { type: 'reasoning-delta', id: 'r', delta: 'see.' },
        { type: 'reasoning-end', id: 'r', ...signed },
        source,
        { type: 'text-start', id: 't', ...signed },
        { type: 'text-delta', id: 't', delta: answer.text },
        { type: 'text-end', id: 't' },
        { ...end('stop'), ...signed },
      ];
    case 'tool':
      return [
        ...head,
        { type: 'tool-input-start', id: callId(answer), toolName: answer.name },
        { type: 'tool-input-delta', id: callId(answer), delta: answer.input },
        { type: 'tool-input-end', id: callId(answer) },
        ...contentOf(answer),
        end('tool-calls'),
      ];
    case 'error':
      return [...head, { type: 'error', error: new Error('the model is out of order') }, end('error')];
    case 'overloaded':
      return [];
    case 'broken':
    case 'hang':
      return [...head, { type: 'text-start', id: 't' }, { type: 'text-delta', id: 't', delta: 'so far' }];
    default:
      return answer satisfies never;
  }
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => {
      reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    if (signal?.aborted === true) fail();
    signal?.addEventListener('abort', fail, { once: true });
  });
}
