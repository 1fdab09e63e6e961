/** A client's chat completion, answered by the policy of its run: recorded token by token, handed on without tokens. */
import type { CallOutcome } from '../../trajectory/records.ts';
import type { CallAnswer } from '../capture.ts';
import { errorOutcome } from '../outcome.ts';
import type { RecordedCall } from '../recorded-call.ts';
import type { PolicyRoute } from '../route.ts';
import { warnOnce } from '../warn-once.ts';
import { AnswerCollector } from './answer.ts';
import { beginCall, statusOutcome, streamEndOutcome, type WireCall } from './call.ts';
import { encodeEvent, endMark, EventReader } from './events.ts';
import { policyRequest } from './policy-request.ts';
import { rewritten } from './response.ts';
import { chunk, completion, reportedError } from './schema.ts';
import { isUnaskedCount, stripTokens } from './strip.ts';
import { sendToPolicy } from './transport.ts';

/**
 * Sends the call to the policy and gives its answer as the client expects it. HTTP errors come back as responses; a
 * stream that fails before its first event does, too. Rejects as `fetch` does, and with BackendUnavailableError.
 */
export async function answerByPolicy(call: WireCall, route: PolicyRoute): Promise<Response> {
  const { run, body, signal } = call;
  const recorded = beginCall(call, { kind: 'policy', route });
  const collected = new AnswerCollector();
  try {
    const endpoint = await recorded.connect(route, signal);
    const request = policyRequest(body, endpoint.model, run.rawArguments);
    warnOf(request.leftOut);
    const response = await sendToPolicy(endpoint, request.body, signal);
    if (!response.ok) {
      const text = await response.text();
      recorded.end(statusOutcome(response.status, text));
      return rewritten(response, text);
    }
    const answer = { call, recorded, collected, response };
    return body.stream === true ? await streamed(answer) : await whole(answer);
  } catch (error) {
    recorded.end(errorOutcome(error, signal), () => collected.record());
    throw error;
  }
}

interface Answer {
  readonly call: WireCall;
  readonly recorded: RecordedCall;
  readonly collected: AnswerCollector;
  readonly response: Response;
}

async function whole({ call, recorded, collected, response }: Answer): Promise<Response> {
  const text = await response.text();
  let data: object;
  try {
    data = JSON.parse(text) as object;
    collected.whole(completion.parse(data));
  } catch (cause) {
    throw new TypeError('The answer of the policy server could not be read.', { cause });
  }
  call.run.keepRawArguments(collected.toolCalls.values());
  recorded.end({ status: 'ok' }, () => collected.record());
  stripTokens(data, call.body);
  return rewritten(response, JSON.stringify(data));
}

/** Resolves with the first event: until then a failure can be retried, or answered by the incumbent. */
async function streamed(answer: Answer): Promise<Response> {
  const { recorded, response } = answer;
  const events = new PolicyEvents(answer);
  const first = await events.next();
  if (first?.failure !== undefined) {
    await events.cancel(undefined);
    const headers = { 'content-type': 'application/json' };
    return new Response(first.data, { status: 500, headers });
  }
  recorded.firstToken();
  let pending = first;
  return rewritten(
    response,
    new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const event = pending ?? (await events.next());
          pending = undefined;
          if (event === undefined) controller.close();
          else controller.enqueue(encodeEvent(event.data));
        },
        cancel: (reason: unknown) => events.cancel(reason),
      },
      { highWaterMark: 0 },
    ),
  );
}

interface PolicyEvent {
  /** For the client. */
  readonly data: string;
  /** An error that the server reports. */
  readonly failure?: string;
}

/** The events of a streamed answer as the client gets them; keeps the record on the way. */
class PolicyEvents {
  readonly #answer: Answer;
  readonly #events: EventReader;
  readonly #soFar = (): CallAnswer => this.#answer.collected.record();

  constructor(answer: Answer) {
    this.#answer = answer;
    const { body } = answer.response;
    if (body === null) throw new TypeError('The policy server sent no body.');
    this.#events = new EventReader(body);
  }

  /** The next event; undefined at the end. Rejects where the stream breaks off. */
  async next(): Promise<PolicyEvent | undefined> {
    const { call } = this.#answer;
    try {
      for (;;) {
        const data = await this.#events.next();
        if (data === undefined) {
          this.#close();
          return undefined;
        }
        const event = this.#take(data);
        if (event !== undefined) return event;
      }
    } catch (error) {
      this.#end(errorOutcome(error, call.signal));
      throw error;
    }
  }

  async cancel(reason: unknown): Promise<void> {
    const { call, collected } = this.#answer;
    this.#end(streamEndOutcome({ type: 'cancelled', reason }, collected, call.signal));
    await this.#events.cancel(reason);
  }

  /** The end of the body: fine after the finish reason, else what came must not pass for the whole answer. */
  #close(): void {
    const { call, collected } = this.#answer;
    const outcome = streamEndOutcome({ type: 'done' }, collected, call.signal);
    this.#end(outcome);
    if (outcome.status === 'error') throw new TypeError(outcome.error.message);
  }

  #end(outcome: CallOutcome): void {
    const { call, collected, recorded } = this.#answer;
    call.run.keepRawArguments(collected.toolCalls.values());
    // Read now: chunks that come after an error are no part of the answer.
    const known = collected.record();
    recorded.end(outcome, () => known);
  }

  /** What the client gets of an event; undefined for what it has not asked for. */
  #take(data: string): PolicyEvent | undefined {
    const { call, collected, recorded } = this.#answer;
    if (data === endMark) {
      this.#end({ status: 'ok' });
      return { data };
    }
    const parsed = JSON.parse(data) as object;
    const message = reportedError(parsed);
    if (message !== undefined) {
      collected.fail();
      this.#end({ status: 'error', error: { name: 'Error', message } });
      return { data, failure: message };
    }
    collected.push(chunk.parse(parsed));
    recorded.partial(this.#soFar);
    if (isUnaskedCount(parsed, call.body)) return undefined;
    stripTokens(parsed, call.body);
    return { data: JSON.stringify(parsed) };
  }
}

function warnOf(leftOut: readonly string[]): void {
  for (const what of leftOut)
    warnOnce('APPRENTICE_LEFT_OUT', `the policy cannot honour ${what}; it was left out.`);
}
