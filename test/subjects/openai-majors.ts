/** The majors of the openai package side by side, with what the tests use of them, the same in every major. */
import openai4, { AzureOpenAI as Azure4 } from 'openai4';
import { makeParseableResponseFormat as parseable4 } from 'openai4/lib/parser';
import openai5, { AzureOpenAI as Azure5 } from 'openai5';
import { makeParseableResponseFormat as parseable5 } from 'openai5/lib/parser';
import openai6, { AzureOpenAI as Azure6 } from 'openai6';
import { makeParseableResponseFormat as parseable6 } from 'openai6/lib/parser';
import openai7, { AzureOpenAI as Azure7 } from 'openai7';
import { makeParseableResponseFormat as parseable7 } from 'openai7/lib/parser';

/** A chat completion, as far as tests look into it. */
export interface Completion {
  readonly id: string;
  readonly choices: readonly {
    readonly message: { readonly content: string | null; readonly parsed?: unknown };
  }[];
}

export interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[];
}

export interface ChunkStream extends AsyncIterable<Chunk> {
  readonly controller: AbortController;
  tee(): [ChunkStream, ChunkStream];
  toReadableStream(): ReadableStream<Uint8Array>;
}

export interface Pending<T> extends PromiseLike<T> {
  asResponse(): Promise<Response>;
  withResponse(): Promise<{ readonly data: T; readonly response: Response }>;
}

/** What `stream` and `runTools` give back. */
export interface Runner extends AsyncIterable<Chunk> {
  readonly messages: readonly unknown[];
  finalContent(): Promise<string | null>;
  finalChatCompletion(): Promise<Completion>;
  on(event: string, listener: (...given: unknown[]) => void): this;
}

export interface Completions {
  create<B extends object>(
    body: B,
    options?: object,
  ): Pending<B extends { readonly stream: true } ? ChunkStream : Completion>;
  parse(body: object, options?: object): PromiseLike<Completion>;
  stream(body: object, options?: object): Runner;
  runTools(body: object, options?: object): Runner;
}

export interface Client {
  readonly chat: { readonly completions: Completions };
  readonly beta: { readonly chat: { readonly completions: Completions } };
  readonly embeddings: { create(body: object): PromiseLike<unknown> };
  readonly responses: { create(body: object): PromiseLike<unknown> };
  withOptions?(options: object): Client;
}

type ClientClass = new (options: object) => Client;
type Parseable = (format: object, parser: (content: string) => unknown) => object;

export interface Major {
  readonly name: string;
  readonly OpenAI: ClientClass;
  readonly AzureOpenAI: ClientClass;
  readonly makeParseable: Parseable;
}

const major = (name: string, OpenAI: unknown, AzureOpenAI: unknown, makeParseable: unknown): Major => ({
  name,
  OpenAI: OpenAI as ClientClass,
  AzureOpenAI: AzureOpenAI as ClientClass,
  makeParseable: makeParseable as Parseable,
});

export const openaiMajors: readonly Major[] = [
  major('openai 4', openai4, Azure4, parseable4),
  major('openai 5', openai5, Azure5, parseable5),
  major('openai 6', openai6, Azure6, parseable6),
  major('openai 7', openai7, Azure7, parseable7),
];

/** `parse`, `stream` and `runTools`: in openai 4 they are still under `beta`. */
export function helpersOf(client: Client): Completions {
  return 'runTools' in client.chat.completions ? client.chat.completions : client.beta.chat.completions;
}

/** The schema `{ city: string }` as a response format that `parse` parses by. `cities`: the only ones, if any. */
export function cityFormat({ makeParseable }: Major, cities?: readonly string[]): object {
  const schema = {
    type: 'object',
    properties: { city: { type: 'string', ...(cities === undefined ? {} : { enum: cities }) } },
    required: ['city'],
    additionalProperties: false,
  };
  const format = { type: 'json_schema', json_schema: { name: 'place', strict: true, schema } };
  return makeParseable(format, (content) => JSON.parse(content) as unknown);
}
