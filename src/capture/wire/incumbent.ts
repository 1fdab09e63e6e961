/** A client's chat completion on the user's own model: request and answer pass unaltered, and are recorded. */
import { errorOutcome } from '../outcome.ts';
import type { RecordedCall } from '../recorded-call.ts';
import { AnswerCollector } from './answer.ts';
import { beginCall, parseJson, statusOutcome, streamEndOutcome, type WireCall } from './call.ts';
import { endMark, tapEvents } from './events.ts';
import { isEventStream, isJson, webBody, withBody } from './response.ts';
import { chunk, completion, wireError } from './schema.ts';

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
  const body = webBody(response);
  if (body === undefined || !(isEventStream(response) || isJson(response))) {
    recorded.end(response.ok ? { status: 'ok' } : statusOutcome(response.status, ''));
    return response;
  }
  if (isEventStream(response)) return withBody(response, tapped(call, recorded, body));
  const { text, error } = await readText(body);
  if (error !== undefined) {
    recorded.end(errorOutcome(error.reason, call.signal));
    return withBody(response, brokenOff(text, error.reason));
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
  recorded.end({ status: 'ok' }, collected.record());
}

function tapped(
  call: WireCall,
  recorded: RecordedCall,
  body: ReadableStream<Uint8Array>,
): ReadableStream<Uint8Array> {
  const { run, signal } = call;
  const collected = new AnswerCollector();
  const take = (data: string): void => {
    if (data === endMark) {
      run.keepRawArguments(collected.toolCalls.values());
      recorded.end({ status: 'ok' }, collected.record());
      return;
    }
    const parsed = parseJson(data);
    const reported = wireError.safeParse(parsed);
    if (reported.success) {
      collected.fail();
      const { message } = reported.data.error;
      recorded.end({ status: 'error', error: { name: 'Error', message } }, collected.record());
      return;
    }
    recorded.firstToken();
    collected.push(chunk.parse(parsed));
    recorded.partial(collected.record());
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
      recorded.end(streamEndOutcome(end, collected, signal), collected.record());
    },
  });
}

interface ReadText {
  readonly text: string;
  /** Why it broke off, where it did. */
  readonly error?: { readonly reason: unknown };
}

async function readText(body: ReadableStream<Uint8Array>): Promise<ReadText> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let text = '';
  try {
    for await (const bytes of body) text += decoder.decode(bytes, { stream: true });
  } catch (reason) {
    return { text, error: { reason } };
  }
  return { text: text + decoder.decode() };
}

/** What came, and then the same error: the client meets it where it would have met it. */
function brokenOff(text: string, reason: unknown): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      controller.error(reason);
    },
  });
}
