/** A trajectory's call on its policy, plain or streamed, recorded. */
import type { Endpoint, ServedIdentity } from '../../../backends/backend.ts';
import type { CallEnd, OpenCall } from '../../../capture/capture.ts';
import type { Route } from '../../../capture/route.ts';
import type { ActiveRun } from '../../../capture/run.ts';
import { tapStream } from '../../../capture/stream-tap.ts';
import type { CallOutcome } from '../../../trajectory/records.ts';
import { toMessages, toTools } from '../messages.ts';
import { errorOutcome, streamOutcome } from '../outcome.ts';
import { givenParameters } from '../parameters.ts';
import { noteAttempt, retryOf } from '../retries.ts';
import type {
  CallOptions,
  GenerateResult,
  LanguageModelLike,
  SpecificationVersion,
  StreamResult,
} from '../specification.ts';
import { readingError } from './api-error.ts';
import { generateRecord, generateResult } from './generate.ts';
import { policyParameters, requestBody } from './request.ts';
import { openStream } from './stream.ts';
import { StreamedAnswer } from './streamed-answer.ts';
import { postCompletion } from './transport.ts';
import { unsupported } from './unsupported.ts';
import { completion } from './wire.ts';

export interface PolicyCall {
  readonly run: ActiveRun;
  readonly route: Extract<Route, { kind: 'policy' }>;
  readonly model: LanguageModelLike;
  readonly version: SpecificationVersion;
  readonly options: CallOptions;
}

/** Answers `doGenerate` by the policy. Rejects with errors that the AI SDK retries where that can help. */
export async function generateByPolicy(call: PolicyCall): Promise<GenerateResult> {
  const { run, options, version } = call;
  const attempt = new Attempt(call, false);
  try {
    const endpoint = await attempt.connect();
    const body = requestBody(options, endpoint.model, run.rawArguments, false);
    const response = await postCompletion(endpoint, body, options.abortSignal);
    const answer = await read(response, options.abortSignal);
    for (const one of answer.choices[0]?.message.tool_calls ?? [])
      run.rawArguments.set(one.id, one.function.arguments);
    attempt.end({ status: 'ok' }, generateRecord(answer));
    return generateResult(version, answer, body, unsupported(options));
  } catch (error) {
    attempt.end(errorOutcome(error, options.abortSignal), {});
    throw error;
  }
}

/**
 * Answers `doStream` by the policy. Resolves when the first chunk is there: until then a failure rejects, and can be
 * retried or answered by the incumbent.
 */
export async function streamByPolicy(call: PolicyCall): Promise<StreamResult> {
  const { run, options, version } = call;
  const attempt = new Attempt(call, true);
  const answer = new StreamedAnswer(version);
  try {
    const endpoint = await attempt.connect();
    const body = requestBody(options, endpoint.model, run.rawArguments, true);
    const response = await postCompletion(endpoint, body, options.abortSignal);
    const parts = await openStream({
      response,
      answer,
      version,
      unsupported: unsupported(options),
      signal: options.abortSignal,
    });
    let failure: unknown;
    const stream = tapStream(parts, {
      part: (part) => {
        attempt.open.partial(answer.record());
        if (part.type === 'error') failure = part['error'];
        if (part.type !== 'finish') return;
        for (const one of answer.toolCalls) run.rawArguments.set(one.id, one.input);
        const outcome =
          failure === undefined ? ({ status: 'ok' } as const) : errorOutcome(failure, undefined);
        attempt.end(outcome, answer.record());
      },
      // After the finish part, this one does not count.
      end: (end) => {
        attempt.end(streamOutcome(end, options.abortSignal), answer.record());
      },
    });
    attempt.open.firstToken();
    return { stream, request: { body }, response: {} };
  } catch (error) {
    attempt.end(errorOutcome(error, options.abortSignal), answer.record());
    throw error;
  }
}

async function read(response: Response, signal: AbortSignal | undefined) {
  try {
    return completion.parse(await response.json());
  } catch (error) {
    throw readingError(error, response.url, signal);
  }
}

/** One request to the policy, on record from its start; its end counts once. */
class Attempt {
  readonly open: OpenCall;
  readonly #call: PolicyCall;
  #identity: ServedIdentity | undefined;
  #ended = false;

  constructor(call: PolicyCall, streamed: boolean) {
    const { run, route, options, model, version } = call;
    this.#call = call;
    this.open = run.startCall({
      adapter: 'ai-sdk',
      specification: version,
      requestedModel: model.modelId,
      provider: model.provider,
      policy: route.policy,
      propensity: route.propensity,
      identity: () => this.#identity,
      ...retryOf(run, options),
      messages: () => toMessages(options.prompt, run.rawArguments),
      tools: () => toTools(options.tools),
      parameters: () => ({ ...givenParameters(options), ...policyParameters(options) }),
      streamed,
    });
  }

  /** Where the policy is served now. What serves it is part of what makes the tokens meaningful later. */
  async connect(): Promise<Endpoint> {
    const { route, options } = this.#call;
    const endpoint = await route.endpoint(options.abortSignal);
    this.#identity = endpoint.identity;
    return endpoint;
  }

  end(outcome: CallOutcome, known: Omit<CallEnd, 'outcome'>): void {
    if (this.#ended) return;
    this.#ended = true;
    noteAttempt(this.#call.run, this.#call.options, this.open.id, outcome);
    this.open.end({ ...known, outcome });
  }
}
