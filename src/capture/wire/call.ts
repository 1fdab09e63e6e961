/** A chat completion on the wire, whoever answers it. */
import type { CallOutcome } from '../../trajectory/records.ts';
import type { RecordedCall } from '../recorded-call.ts';
import type { Answerer } from '../route.ts';
import type { ActiveRun } from '../run.ts';
import type { StreamEnd } from '../tap-callbacks.ts';
import { errorOutcome } from '../outcome.ts';
import type { AnswerCollector } from './answer.ts';
import { keptMessages, newToolResults } from './messages.ts';
import { givenParameters, policyParameters, type WireBody } from './policy-request.ts';
import { reportedError } from './schema.ts';

export interface WireCall {
  readonly run: ActiveRun;
  /** Names the adapter in the record. */
  readonly adapter: string;
  /** Names who serves the incumbent: a host, for instance. */
  readonly provider?: string;
  /** The request as the client made it. Taken by reference; must not be changed afterwards. */
  readonly body: WireBody;
  readonly signal: AbortSignal | undefined;
}

/** Puts the call on record. */
export function beginCall({ run, adapter, provider, body }: WireCall, answerer: Answerer): RecordedCall {
  return run.startCall({
    answerer,
    prompt: body.messages,
    adapter,
    requestedModel: body.model,
    ...(provider === undefined ? {} : { provider }),
    messages: () => keptMessages(body.messages, run.rawArguments),
    tools: () => body.tools ?? [],
    parameters: () => ({
      ...givenParameters(body),
      ...(answerer.kind === 'policy' ? policyParameters(body) : {}),
    }),
    streamed: body.stream === true,
  });
}

/** Puts the results of tools on record: they stand in the prompt of the next call. Call it once for each request. */
export function noteToolResults({ run, body }: WireCall): void {
  for (const result of newToolResults(body.messages)) {
    const input = run.rawArguments.get(result.toolCallId);
    run.toolResult({ ...result, ...(input === undefined ? {} : { input }) });
  }
}

/** What the end of a stream means that `[DONE]` has not ended. */
export function streamEndOutcome(
  end: StreamEnd,
  collected: AnswerCollector,
  signal: AbortSignal | undefined,
): CallOutcome {
  // Many readers leave at the finish reason, and some servers send no mark: the answer is whole all the same.
  if (end.type !== 'error' && collected.finishReason !== undefined) return { status: 'ok' };
  switch (end.type) {
    case 'error':
      return errorOutcome(end.error, signal);
    case 'cancelled':
      // openai 7 cancels for a reader that leaves, for its own `controller.abort()` and for the caller's signal alike.
      return { status: 'cancelled' };
    case 'done':
      return errorOutcome(new Error('The stream broke off before its end.'), undefined);
    default:
      return end satisfies never;
  }
}

/** What an HTTP error says, as the outcome of the call. */
export function statusOutcome(status: number, text: string): CallOutcome {
  const message = reportedError(parseJson(text)) ?? 'The model server gave no reason.';
  return { status: 'error', error: { name: `HTTP ${String(status)}`, message } };
}

/** The value of a JSON text; undefined where it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
