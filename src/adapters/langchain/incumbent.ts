/** The record of a call on the user's own model, which is otherwise left alone. */
import type { CallAnswer } from '../../capture/capture.ts';
import { errorOutcome, streamOutcome } from '../../capture/outcome.ts';
import type { RecordedCall } from '../../capture/recorded-call.ts';
import type { ActiveRun } from '../../capture/run.ts';
import type { StreamEnd } from '../../capture/tap-callbacks.ts';
import type { CallOutcome } from '../../trajectory/records.ts';
import { describeModel, givenParameters, givenTools } from './description.ts';
import { inputMessages, toMessages } from './messages.ts';
import type { Attempt } from './policy/fetch.ts';
import { isObject, type ChatRunnable } from './shapes.ts';

export interface IncumbentCall {
  readonly run: ActiveRun;
  readonly model: ChatRunnable;
  /** The prompt of this one call. */
  readonly input: unknown;
  readonly options: unknown;
  readonly streamed: boolean;
  /** Given where the incumbent answers because the policy failed. */
  readonly failed?: Attempt;
}

/** A call on the incumbent, on record from its start. */
export class IncumbentRecord {
  readonly #call: IncumbentCall;
  readonly #recorded: RecordedCall;

  constructor(call: IncumbentCall) {
    const { run, model, input, options, streamed, failed } = call;
    this.#call = call;
    this.#recorded = run.startCall({
      answerer: { kind: 'incumbent', fallback: failed !== undefined },
      prompt: failed?.prompt ?? inputMessages(input),
      adapter: 'langchain',
      ...describeModel(model),
      messages: () => toMessages(input, run.rawArguments),
      tools: () => givenTools(model, options),
      parameters: () => givenParameters(model, options),
      streamed,
    });
  }

  firstPart(): void {
    this.#recorded.firstToken();
  }

  /** What a partial record would hold: read when it is needed. */
  partial(answer: () => CallAnswer): void {
    this.#recorded.partial(answer);
  }

  ok(answer: () => CallAnswer): void {
    this.#end({ status: 'ok' }, answer);
  }

  failed(error: unknown): void {
    this.#end(errorOutcome(error, signalOf(this.#call.options)), () => ({}));
  }

  streamEnded(how: StreamEnd, answer: () => CallAnswer): void {
    // A chat model's stream is complete when it ends: there is no last part that could be missing.
    const outcome: CallOutcome =
      how.type === 'done' ? { status: 'ok' } : streamOutcome(how, signalOf(this.#call.options));
    this.#end(outcome, answer);
  }

  #end(outcome: CallOutcome, answer: () => CallAnswer): void {
    // Read at once: what tools the run awaits decides how long it stays open.
    const known = this.#call.run.guard<CallAnswer>('reading an answer', answer, {});
    this.#recorded.end(outcome, () => known);
  }
}

export function signalOf(options: unknown): AbortSignal | undefined {
  return isObject(options) && options['signal'] instanceof AbortSignal ? options['signal'] : undefined;
}
