/** A client's chat completion on the user's own model: request and answer pass unaltered, and are recorded. */
import type { CallAnswer } from '../capture.ts';
import { errorOutcome } from '../outcome.ts';
import type { RecordedCall } from '../recorded-call.ts';
import { AnswerCollector } from './answer.ts';
import { beginCall, parseJson, statusOutcome, streamEndOutcome, type WireCall } from './call.ts';
import { endMark, tapEvents } from './events.ts';
import { isEventStream, isJson, webBody, withBody } from './response.ts';
import { chunk, completion, reportedError } from './schema.ts';

/**
 * Sends the call by `send` and records what comes. Rejects only as `send` does.
 *
 * @param fallback whether the incumbent answers because the policy failed
 */
export async function answerByIncumbent(
  call: WireCall,
  fallback: boolean,
  send: () => Promise<Response>,
): Promise<Response> {
  const { run, signal } = call;
  const recorded = run.guard(
    'opening a call',
    () => beginCall(call, { kind: 'incumbent', fallback }),
    undefined,
  );
  if (recorded === undefined) return send();
  let response: Response;
  try {
    response = await send();
  } catch (error) {
    recorded.end(errorOutcome(error, signal));
    throw error;
  }
  try {
    return await observed(call, recorded, response);
  } catch (error) {
    // Only what is no response at all gets here, from a fetch that somebody made up.
    run.guard(
      'reading a response',
      () => {
        throw error;
      },
      undefined,
    );
    recorded.end({ status: 'ok' });
    return response;
  }
}

async function observed(call: WireCall, recorded: RecordedCall, response: Response): Promise<Response> {
  if (isEventStream(response)) {
    const body = webBody(response);
    if (body !== undefined) return withBody(response, tapped(call, recorded, body));
  }
  if (!isJson(response) || typeof response.text !== 'function') {
    recorded.end(response.ok ? { status: 'ok' } : statusOutcome(response.status, ''));
    return response;
  }
  let text: string;
  try {
    text = await response.text();
  } catch (error) {
    recorded.end(errorOutcome(error, call.signal));
    return withBody(response, brokenOff(error));
  }
  if (response.ok) recordWhole(call, recorded, text);
  else recorded.end(statusOutcome(response.status, text));
  return withBody(response, text);
}

function recordWhole({ run }: WireCall, recorded: RecordedCall, text: string): void {
  const collected = new AnswerCollector();
  run.guard(
    'reading an answer',
    () => {
      collected.whole(completion.parse(JSON.parse(text)));
      run.keepRawArguments(collected.toolCalls.values());
    },
    undefined,
  );
  recorded.end({ status: 'ok' }, () => collected.record());
}

function tapped(
  call: WireCall,
  recorded: RecordedCall,
  body: ReadableStream<Uint8Array>,
): ReadableStream<Uint8Array> {
  const { run, signal } = call;
  const collected = new AnswerCollector();
  const soFar = (): CallAnswer => collected.record();
  const take = (data: string): void => {
    if (data === endMark) {
      run.keepRawArguments(collected.toolCalls.values());
      recorded.end({ status: 'ok' }, () => collected.record());
      return;
    }
    const parsed = parseJson(data);
    const message = reportedError(parsed);
    if (message !== undefined) {
      collected.fail();
      // Read now: chunks that come after the error are no part of the answer.
      const known = collected.record();
      recorded.end({ status: 'error', error: { name: 'Error', message } }, () => known);
      return;
    }
    recorded.firstToken();
    collected.push(chunk.parse(parsed));
    recorded.partial(soFar);
  };
  return tapEvents(body, {
    data: (data) => {
      run.guard(
        'reading a stream',
        () => {
          take(data);
        },
        undefined,
      );
    },
    end: (end) => {
      run.keepRawArguments(collected.toolCalls.values());
      recorded.end(streamEndOutcome(end, collected, signal), () => collected.record());
    },
  });
}

/** The same error again: the client meets it where it would have met it, when it reads. */
function brokenOff(reason: unknown): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    start(controller) {
      controller.error(reason);
    },
  });
}
