/** A call on the user's own model, recorded and otherwise untouched. */
import type { CallAnswer } from '../../capture/capture.ts';
import { errorOutcome } from '../../capture/outcome.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { tapInPlace } from '../../capture/stream-in-place.ts';
import { answerRecord, keepArgumentsNow } from './answer-record.ts';
import type { IncumbentCall } from './incumbent-call.ts';
import type { GenerateResult, StreamResult } from './specification.ts';
import { StreamRecording } from './stream-recording.ts';

/** `doGenerate` of the incumbent; its result is given back as it is. */
export function generateByIncumbent(call: IncumbentCall): Promise<GenerateResult> {
  const { run, model, options } = call;
  const recorded = run.startCall(call);
  return watched(
    () => model.doGenerate(options),
    (result) => {
      if (call.answerer.fallback) keepArgumentsNow(run, () => result.content);
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

function resultRecord(run: ActiveRun, result: GenerateResult): CallAnswer {
  const { content, finishReason, usage, response } = result;
  return answerRecord(run, { content, finishReason, usage, id: response?.id, modelId: response?.modelId });
}
