/** The one line that users change: a client of the `openai` package in, the same client out. */
import type { AdapterHost } from '../../capture/adapter-host.ts';
import { warnOnce } from '../../capture/warn-once.ts';
import type { Fetch } from '../../capture/wire/recorded-fetch.ts';
import { markedFetch } from './recording-fetch.ts';

/**
 * Wraps a client of `openai` 4, 5, 6 or 7 in place, AzureOpenAI and subclasses included, and gives it back. All that
 * ends in a chat completion is recorded and, once a policy is live, answered by the policy: `create`, `parse`, `stream`,
 * `runTools`, raw responses, and clones that `withOptions` makes from then on. Other endpoints are left alone.
 *
 * It replaces the client's `fetch` and nothing else, so that types, private members and helpers stay what they are.
 * Anything that is no such client is given back as it is, with one warning. Wrapping twice changes nothing.
 */
export function wrapOpenAI<C extends object>(client: C, host: AdapterHost): C {
  // Private in the types of all majors, but the same in all of them, and the option `fetch` of their constructors.
  const own: unknown = Reflect.get(client, 'fetch');
  if (typeof own !== 'function' || !('chat' in client)) {
    warnOnce(
      'APPRENTICE_NOT_WRAPPED',
      'What was given to wrapOpenAI is no client of openai 4, 5, 6 or 7 and passes through unrecorded.',
    );
    return client;
  }
  const wrapped = markedFetch(own as Fetch, host, 'openai');
  if (!Reflect.set(client, 'fetch', wrapped))
    warnOnce('APPRENTICE_NOT_WRAPPED', 'The client is frozen and passes through unrecorded.');
  return client;
}
