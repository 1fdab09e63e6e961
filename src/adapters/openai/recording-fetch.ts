import type { AdapterHost } from '../../capture/adapter-host.ts';
import { warnOnce } from '../../capture/warn-once.ts';
import { recordedFetch, type Fetch } from '../../capture/wire/recorded-fetch.ts';

const recording = Symbol.for('apprentice.fetch.recording');

/**
 * The same `fetch`, for any SDK that takes one (`new OpenAI({ fetch })`, AI SDK providers, Mistral's client, your own):
 * it records chat completions (`POST …/chat/completions` with a JSON body) and, once a policy is live, lets the policy
 * answer; everything else passes through untouched. Give it once to each client; a second time it comes back as it is.
 *
 * @param fetch what sends the client's requests today, `globalThis.fetch` mostly
 */
export function recordingFetch(fetch: Fetch, host: AdapterHost): Fetch {
  return markedFetch(fetch, host, 'fetch');
}

/** A recorded fetch that knows whose it is, so that no call is recorded twice. */
export function markedFetch(fetch: Fetch, host: AdapterHost, adapter: string): Fetch {
  if (recording in fetch) {
    if (fetch[recording] !== host.recorder)
      warnOnce(
        'APPRENTICE_NOT_WRAPPED',
        'The fetch is already recorded by another apprentice, which goes on recording it alone.',
      );
    return fetch;
  }
  const { recorder } = host;
  return Object.assign(recordedFetch(fetch, { recorder, adapter }), { [recording]: recorder });
}
