/** One request to a model on its way into the record, whoever answers it; what all adapters do alike. */
import type { Endpoint, ServedIdentity } from '../backends/backend.ts';
import type { CallOutcome } from '../trajectory/records.ts';
import type { CallAnswer, CallStart, OpenCall } from './capture.ts';
import { noteFailure, retryOf, type Prompt } from './retries.ts';
import type { Route } from './route.ts';
import type { ActiveRun } from './run.ts';

export type PolicyRoute = Extract<Route, { kind: 'policy' }>;

/** Who answers one call: the incumbent, also in the place of a policy that failed, or a policy. */
export type Answerer =
  | { readonly kind: 'incumbent'; readonly fallback: boolean }
  | { readonly kind: 'policy'; readonly route: PolicyRoute };

export interface RecordedCallStart extends Omit<
  CallStart,
  'policy' | 'propensity' | 'identity' | 'fallback' | 'retryOf'
> {
  readonly run: ActiveRun;
  readonly answerer: Answerer;
  /** The messages as the framework has them: the same ones again are a retry. */
  readonly prompt: Prompt;
}

/** On record from its construction; its end counts once. */
export class RecordedCall {
  readonly #start: RecordedCallStart;
  readonly #open: OpenCall;
  #identity: ServedIdentity | undefined;
  #ended = false;

  constructor(start: RecordedCallStart) {
    const { run, answerer } = start;
    this.#start = start;
    // Field by field: copying the rest of an object is slow, and this is inside the user's call.
    this.#open = run.startCall({
      adapter: start.adapter,
      specification: start.specification,
      requestedModel: start.requestedModel,
      provider: start.provider,
      messages: start.messages,
      tools: start.tools,
      parameters: start.parameters,
      toolResults: start.toolResults,
      streamed: start.streamed,
      policy: answerer.kind === 'policy' ? answerer.route.policy : null,
      propensity: run.route.propensity,
      identity: () => this.#identity,
      fallback: answerer.kind === 'incumbent' && answerer.fallback,
      retryOf: retryOf(run, start.prompt),
    });
  }

  /**
   * Where the policy is served now. What serves it is part of what makes the tokens meaningful later. Rejects with
   * BackendUnavailableError, or the AbortSignal's reason.
   */
  async connect(route: PolicyRoute, signal: AbortSignal | undefined): Promise<Endpoint> {
    const endpoint = await route.endpoint(signal);
    this.#identity = endpoint.identity;
    return endpoint;
  }

  /** The first token, or what stands for it, is there. */
  firstToken(): void {
    this.#open.firstToken();
  }

  /** Where to read what the record holds should nothing more come. */
  partial(read: () => CallAnswer): void {
    this.#open.partial(read);
  }

  /** `read` gives the answer, when the record is built. */
  end(outcome: CallOutcome, read?: () => CallAnswer): void {
    if (this.#ended) return;
    this.#ended = true;
    const { run, prompt } = this.#start;
    if (outcome.status === 'error') noteFailure(run, prompt, this.#open.id);
    this.#open.end(outcome, read);
  }
}
