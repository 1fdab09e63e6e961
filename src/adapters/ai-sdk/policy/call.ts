/** A trajectory's call on its policy, plain or streamed, recorded. */
import { errorOutcome, streamOutcome } from '../../../capture/outcome.ts';
import type { RecordedCall } from '../../../capture/recorded-call.ts';
import type { PolicyRoute } from '../../../capture/route.ts';
import type { ActiveRun } from '../../../capture/run.ts';
import { tapInPlace } from '../../../capture/stream-in-place.ts';
import { AnswerCollector } from '../../../capture/wire/answer.ts';
import { completion } from '../../../capture/wire/schema.ts';
import { toMessages, toTools } from '../messages.ts';
import { newToolResults } from '../tool-results.ts';
import { givenParameters } from '../parameters.ts';
import type {
  CallOptions,
  GenerateResult,
  LanguageModelLike,
  SpecificationVersion,
  StreamResult,
} from '../specification.ts';
import { readingError } from './api-error.ts';
import { generateResult } from './generate.ts';
import { policyParameters, requestBody } from './request.ts';
import { openStream } from './stream.ts';
import { StreamedAnswer } from './streamed-answer.ts';
import { postCompletion } from './transport.ts';
import { unsupported } from './unsupported.ts';

export interface PolicyCall {
  readonly run: ActiveRun;
  readonly route: PolicyRoute;
  readonly model: LanguageModelLike;
  readonly version: SpecificationVersion;
  readonly options: CallOptions;
}

/** Answers `doGenerate` by the policy. Rejects with errors that the AI SDK retries where that can help. */
export async function generateByPolicy(call: PolicyCall): Promise<GenerateResult> {
  const { run, route, options, version } = call;
  const recorded = begin(call, false);
  try {
    const endpoint = await recorded.connect(route, options.abortSignal);
    const body = requestBody(options, endpoint.model, run.rawArguments, false);
    const response = await postCompletion(endpoint, body, options.abortSignal);
    const answer = await read(response, options.abortSignal);
    const collected = new AnswerCollector();
    collected.whole(answer);
    run.keepRawArguments(collected.toolCalls.values());
    recorded.end({ status: 'ok' }, () => collected.record());
    return generateResult(version, answer, body, unsupported(options));
  } catch (error) {
    recorded.end(errorOutcome(error, options.abortSignal));
    throw error;
  }
}

/**
 * Answers `doStream` by the policy. Resolves when the first chunk is there: until then a failure rejects, and can be
 * retried or answered by the incumbent.
 */
export async function streamByPolicy(call: PolicyCall): Promise<StreamResult> {
  const { run, route, options, version } = call;
  const recorded = begin(call, true);
  const answer = new StreamedAnswer(version);
  try {
    const endpoint = await recorded.connect(route, options.abortSignal);
    const body = requestBody(options, endpoint.model, run.rawArguments, true);
    const response = await postCompletion(endpoint, body, options.abortSignal);
    const parts = await openStream({
      response,
      answer,
      version,
      unsupported: unsupported(options),
      signal: options.abortSignal,
    });
    recorded.partial(() => answer.record());
    let failure: unknown;
    const stream = tapInPlace(parts, {
      part: (part) => {
        if (part.type === 'error') failure = part['error'];
        if (part.type !== 'finish') return;
        run.keepRawArguments(answer.toolCalls);
        const outcome =
          failure === undefined ? ({ status: 'ok' } as const) : errorOutcome(failure, undefined);
        recorded.end(outcome, () => answer.record());
      },
      // After the finish part, this one does not count.
      end: (end) => {
        recorded.end(streamOutcome(end, options.abortSignal), () => answer.record());
      },
    });
    recorded.firstToken();
    return { stream, request: { body }, response: {} };
  } catch (error) {
    recorded.end(errorOutcome(error, options.abortSignal), () => answer.record());
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

function begin({ run, route, options, model, version }: PolicyCall, streamed: boolean): RecordedCall {
  return run.startCall({
    answerer: { kind: 'policy', route },
    prompt: options.prompt,
    adapter: 'ai-sdk',
    specification: version,
    requestedModel: model.modelId,
    provider: model.provider,
    messages: () => toMessages(options.prompt, run.rawArguments),
    tools: () => toTools(options.tools),
    parameters: () => ({ ...givenParameters(options), ...policyParameters(options) }),
    toolResults: () => newToolResults(options.prompt, run.rawArguments),
    streamed,
  });
}
