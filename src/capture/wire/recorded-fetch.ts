/**
 * The wire recorder: a `fetch` that records chat completions, of whichever client it is given to, and lets the policy of
 * their run answer once there is one. Everything else passes through untouched.
 */
import { CallLayer } from '../scope.ts';
import type { Recorder } from '../recorder.ts';
import type { ActiveRun } from '../run.ts';
import { noteToolResults, parseJson, type WireCall } from './call.ts';
import { answerByIncumbent } from './incumbent.ts';
import { answerByPolicy } from './policy.ts';
import type { WireBody } from './policy-request.ts';

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

export interface RecordedFetchOptions {
  readonly recorder: Recorder;
  /** Names the adapter in the records. */
  readonly adapter: string;
  /**
   * The run that a call belongs to, for adapters that know it better. Default, and where it gives undefined: the run
   * around the call, else a run of its own.
   */
  readonly runOf?: (body: WireBody) => ActiveRun | undefined;
}

/** The same `fetch`, recorded. */
export function recordedFetch(fetch: Fetch, options: RecordedFetchOptions): Fetch {
  const layer = new CallLayer();
  return async (input, init) => {
    const send = () => fetch(input, init);
    if (layer.isInsideCall() || !isCompletions(input, init)) return send();
    const { faults } = options.recorder;
    const call = await open(input, init, options).catch((error: unknown) => {
      faults.count('opening a run', error);
      return undefined;
    });
    if (call === undefined) return send();
    return layer.answer(call.body.messages, () => route(call, send));
  };
}

async function route(call: WireCall, send: () => Promise<Response>): Promise<Response> {
  const { route } = call.run;
  if (route.kind === 'incumbent') return answerByIncumbent(call, false, send);
  // In production the incumbent answers for a policy that cannot; in training such an answer would be a lie.
  const mayFallBack = (): boolean => route.onFailure === 'incumbent' && call.signal?.aborted !== true;
  try {
    const response = await answerByPolicy(call, route);
    if (response.ok || !mayFallBack()) return response;
  } catch (error) {
    if (!mayFallBack()) throw error;
  }
  return answerByIncumbent(call, true, send);
}

/** The call that a request makes; undefined where it is none that can be read. */
async function open(
  input: string | URL | Request,
  init: RequestInit | undefined,
  { recorder, adapter, runOf }: RecordedFetchOptions,
): Promise<WireCall | undefined> {
  const body = parseJson(await bodyText(input, init));
  if (!isWireBody(body)) return undefined;
  const run = runOf?.(body) ?? recorder.current() ?? recorder.startLoneRun();
  const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
  const provider = new URL(urlOf(input)).host;
  const call = { run, adapter, provider, body, signal };
  run.guard(
    'recording tool results',
    () => {
      noteToolResults(call);
    },
    undefined,
  );
  return call;
}

function isCompletions(input: string | URL | Request, init: RequestInit | undefined): boolean {
  const method = init?.method ?? (input instanceof Request ? input.method : 'GET');
  return method.toUpperCase() === 'POST' && /\/chat\/completions\/?(?:[?#]|$)/.test(urlOf(input));
}

function urlOf(input: string | URL | Request): string {
  if (typeof input === 'string') return input;
  return input instanceof URL ? input.href : input.url;
}

async function bodyText(input: string | URL | Request, init: RequestInit | undefined): Promise<string> {
  if (typeof init?.body === 'string') return init.body;
  // The clone is read at once, and the body of a request is in memory anyway.
  return init?.body == null && input instanceof Request ? input.clone().text() : '';
}

function isWireBody(body: unknown): body is WireBody {
  return (
    typeof body === 'object' &&
    body !== null &&
    'model' in body &&
    typeof body.model === 'string' &&
    'messages' in body &&
    Array.isArray(body.messages) &&
    body.messages.every((message) => typeof message === 'object' && message !== null)
  );
}
