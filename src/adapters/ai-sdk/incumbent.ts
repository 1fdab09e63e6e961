/** A call on the user's own model, recorded and otherwise untouched. */
import type { CallAnswer } from '../../capture/capture.ts';
import { errorOutcome } from '../../capture/outcome.ts';
import type { RecordedCall } from '../../capture/recorded-call.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { tapInPlace } from '../../capture/stream-in-place.ts';
import type { StreamEnd, TapCallbacks } from '../../capture/tap-callbacks.ts';
import type { IncumbentCall } from './incumbent-call.ts';
import { answerMessage } from './messages.ts';
import { SeenParts } from './seen-parts.ts';
import {
  finishReasonText,
  usageCounts,
  type GenerateResult,
  type Part,
  type StreamResult,
} from './specification.ts';

/** `doGenerate` of the incumbent; its result is given back as it is. */
export function generateByIncumbent(call: IncumbentCall): Promise<GenerateResult> {
  const { run, model, options } = call;
  const recorded = run.startCall(call);
  return watched(
    () => model.doGenerate(options),
    (result) => {
      if (call.answerer.fallback) keepNow(run, () => result.content);
      recorded.end({ status: 'ok' }, () => resultRecord(run, result));
      return result;
    },
    (error) => {
      recorded.end(errorOutcome(error, options.abortSignal));
    },
  );
}

/** `doStream` of the incumbent; its parts pass through one by one, unchanged. */
export function streamByIncumbent(call: IncumbentCall): Promise<StreamResult> {
  const { run, model, options } = call;
  const recorded = run.startCall(call);
  return watched(
    () => model.doStream(options),
    (result) => {
      const stream = tapInPlace(result.stream, new StreamRecording(call, recorded));
      return stream === result.stream ? result : { ...result, stream };
    },
    (error) => {
      recorded.end(errorOutcome(error, options.abortSignal));
    },
  );
}

/** `await` in the callbacks of the promise: an async function would cost the caller more turns of its microtask queue. */
function watched<T>(
  send: () => PromiseLike<T>,
  succeeded: (result: T) => T,
  failed: (error: unknown) => void,
): Promise<T> {
  let sent: Promise<T>;
  try {
    sent = Promise.resolve(send());
  } catch (error) {
    failed(error);
    throw error;
  }
  return sent.then(succeeded, (error: unknown) => {
    failed(error);
    throw error;
  });
}

/** What a stream says on its way to the reader. */
class StreamRecording implements TapCallbacks<Part> {
  readonly #call: IncumbentCall;
  readonly #recorded: RecordedCall;
  readonly #seen = new SeenParts();
  readonly #read = (): CallAnswer => streamRecord(this.#call.run, this.#seen);
  #begun = false;

  constructor(call: IncumbentCall, recorded: RecordedCall) {
    this.#call = call;
    this.#recorded = recorded;
    recorded.partial(this.#read);
  }

  part(part: Part): void {
    const { type } = part;
    if (!this.#begun && type !== 'stream-start' && type !== 'response-metadata') {
      this.#begun = true;
      this.#recorded.firstToken();
    }
    this.#seen.add(part);
    // A reader may leave at an error, without waiting for the finish part behind it.
    if (type === 'error') this.end({ type: 'error', error: part['error'] });
  }

  end(how: StreamEnd): void {
    const { run, options, answerer } = this.#call;
    const seen = this.#seen;
    if (answerer.fallback) keepNow(run, () => seen.content);
    this.#recorded.end(seen.outcome(how, options.abortSignal), this.#read);
  }
}

function resultRecord(run: ActiveRun, result: GenerateResult): CallAnswer {
  const { content, finishReason, usage, response } = result;
  return record(run, content, finishReason, usage, response);
}

function streamRecord(run: ActiveRun, seen: SeenParts): CallAnswer {
  const { content, finish, metadata } = seen;
  const response = { ...pick(metadata, 'id'), ...pick(metadata, 'modelId') };
  return record(run, content, finish?.['finishReason'], finish?.['usage'], response);
}

function record(
  run: ActiveRun,
  content: readonly Part[],
  finish: unknown,
  usage: unknown,
  response: GenerateResult['response'],
): CallAnswer {
  // Calls are read in their order, so that those after this one find the arguments.
  keepArguments(run, content);
  return {
    message: () => answerMessage(content),
    usage: usageCounts(usage),
    responseId: response?.id,
    respondedModel: response?.modelId,
    finishReason: finishReasonText(finish),
  };
}

/** For the messages of later calls, which hold the arguments as they were written. */
function keepArguments(run: ActiveRun, content: readonly Part[]): void {
  for (const { type, toolCallId, input } of content)
    if (type === 'tool-call' && typeof input === 'string') run.rawArguments.set(String(toolCallId), input);
}

/** As a policy may answer the very next call. */
function keepNow(run: ActiveRun, content: () => readonly Part[]): void {
  run.guard(
    'keeping tool arguments',
    () => {
      keepArguments(run, content());
    },
    undefined,
  );
}

function pick<K extends string>(part: Part | undefined, key: K): Partial<Record<K, string>> {
  const value = part?.[key];
  return typeof value === 'string' ? ({ [key]: value } as Record<K, string>) : {};
}
