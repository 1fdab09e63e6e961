/** A trajectory's call on its policy, plain or streamed, recorded. */
import type { CallEnd, OpenCall } from '../../../capture/capture.ts';
import type { Route } from '../../../capture/route.ts';
import type { ActiveRun } from '../../../capture/run.ts';
import { tapStream } from '../../../capture/stream-tap.ts';
import { errorOutcome, streamOutcome } from '../outcome.ts';
import { toMessages, toTools } from '../messages.ts';
import type {
  CallOptions,
  GenerateResult,
  LanguageModelLike,
  SpecificationVersion,
  StreamResult,
} from '../specification.ts';
import { generateRecord, generateResult } from './generate.ts';
import { requestBody, samplingParameters, unsupportedSettings } from './request.ts';
import { StreamedAnswer, streamParts } from './stream.ts';
import { postCompletion } from './transport.ts';
import { completion } from './wire.ts';

type PolicyRoute = Extract<Route, { kind: 'policy' }>;

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
  const open = await begin(call, false);
  try {
    const endpoint = await route.endpoint(options.abortSignal);
    const body = requestBody(options, route.policy, run.rawArguments, false);
    const response = await postCompletion(endpoint, body, options.abortSignal);
    const answer = completion.parse(await response.json());
    for (const one of answer.choices[0]?.message.tool_calls ?? [])
      run.rawArguments.set(one.id, one.function.arguments);
    open.end({ outcome: { status: 'ok' }, ...generateRecord(answer) });
    return generateResult(version, answer, body, unsupportedSettings(options));
  } catch (error) {
    open.end({ outcome: errorOutcome(error, options.abortSignal) });
    throw error;
  }
}

/** Answers `doStream` by the policy. */
export async function streamByPolicy(call: PolicyCall): Promise<StreamResult> {
  const { run, route, options, version } = call;
  const open = await begin(call, true);
  const answer = new StreamedAnswer(version);
  try {
    const endpoint = await route.endpoint(options.abortSignal);
    const body = requestBody(options, route.policy, run.rawArguments, true);
    const response = await postCompletion(endpoint, body, options.abortSignal);
    if (response.body === null) throw new Error('The policy server sent no body.');
    const parts = streamParts({
      body: response.body,
      answer,
      version,
      unsupported: unsupportedSettings(options),
      url: response.url,
    });
    let finished = false;
    const stream = tapStream(parts, {
      part: (part) => {
        open.firstToken();
        if (part.type === 'finish') {
          finished = true;
          for (const one of answer.toolCalls) run.rawArguments.set(one.id, one.input);
          open.end({ outcome: { status: 'ok' }, ...answer.record() });
        } else {
          open.partial(lazily(answer));
        }
      },
      end: (end) => {
        if (!finished) open.end({ outcome: streamOutcome(end, options.abortSignal), ...answer.record() });
      },
    });
    return { stream, request: { body }, response: {} };
  } catch (error) {
    open.end({ outcome: errorOutcome(error, options.abortSignal), ...answer.record() });
    throw error;
  }
}

/** The answer so far, read when a partial record is really needed. */
function lazily(answer: StreamedAnswer): Omit<CallEnd, 'outcome'> {
  return {
    message: () => answer.record().message?.() ?? null,
    get tokens() {
      const { tokens } = answer.record();
      return tokens ?? { promptIds: [], completionIds: [], logprobs: [] };
    },
  };
}

async function begin(call: PolicyCall, streamed: boolean): Promise<OpenCall> {
  const { run, route, options, model, version } = call;
  // A known endpoint answers at once; the identity is part of what makes the tokens meaningful later.
  const identity = await route.endpoint(options.abortSignal).then(
    (endpoint) => endpoint.identity,
    () => undefined, // the call itself meets the same failure and reports it
  );
  return run.startCall({
    adapter: 'ai-sdk',
    specification: version,
    requestedModel: model.modelId,
    provider: model.provider,
    policy: route.policy,
    propensity: route.propensity,
    ...(identity === undefined ? {} : { identity }),
    messages: () => toMessages(options.prompt, run.rawArguments),
    tools: () => toTools(options.tools),
    parameters: () => samplingParameters(options),
    streamed,
  });
}
