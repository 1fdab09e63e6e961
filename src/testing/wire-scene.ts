/** What the tests of the wire recorder ask, and whom. */
import { recordedFetch, type Fetch } from '../capture/wire/recorded-fetch.ts';
import type { MemoryHost } from './memory-host.ts';
import type { DialectAnswer } from './openai-dialect-server.ts';

export const question = { role: 'user', content: 'What is the weather in Paris?' };

export const text = {
  kind: 'text',
  text: 'It is raining in Paris.',
  reasoning: 'Let me see. ',
} as const satisfies DialectAnswer;

/** Nothing answers here. */
export const nowhere = 'http://127.0.0.1:9/v1';

/** A chat completion request as a client sends it, with things in its headers that are the user's alone. */
export function ask(baseUrl: string, more: object = {}): [url: string, init: RequestInit] {
  const body = JSON.stringify({ model: 'gpt', messages: [question], ...more });
  const headers = { authorization: 'Bearer of the user', 'openai-organization': 'org', cookie: 'private=1' };
  return [`${baseUrl}/chat/completions`, { method: 'POST', headers, body }];
}

export function recorded(host: MemoryHost, base: Fetch = fetch): Fetch {
  return recordedFetch(base, { recorder: host.recorder, adapter: 'test' });
}
