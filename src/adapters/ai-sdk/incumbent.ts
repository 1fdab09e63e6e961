/** A call on the user's own model, recorded and otherwise untouched. */
import type { CallEnd, OpenCall } from '../../capture/capture.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { tapStream } from '../../capture/stream-tap.ts';
import type { CallOutcome } from '../../trajectory/records.ts';
import { answerMessage, toMessages, toTools } from './messages.ts';
import { errorOutcome, streamOutcome } from './outcome.ts';
import { samplingParameters } from './policy/request.ts';
import {
  finishReasonText,
  usageCounts,
  type CallOptions,
  type GenerateResult,
  type LanguageModelLike,
  type Part,
  type StreamResult,
} from './specification.ts';

export interface IncumbentCall {
  readonly run: ActiveRun;
  readonly model: LanguageModelLike;
  readonly options: CallOptions;
  /** Whether the incumbent answers because the policy failed. */
  readonly fallback: boolean;
}

/** `doGenerate` of the incumbent; its result is given back as it is. */
export async function generateByIncumbent(call: IncumbentCall): Promise<GenerateResult> {
  const { model, options, fallback } = call;
  const open = begin(call, false);
  try {
    const result = await model.doGenerate(options);
    open.end({ outcome: { status: 'ok' }, fallback, ...resultRecord(call, result) });
    return result;
  } catch (error) {
    open.end({ outcome: errorOutcome(error, options.abortSignal), fallback });
    throw error;
  }
}

/** `doStream` of the incumbent; its parts pass through one by one, unchanged. */
export async function streamByIncumbent(call: IncumbentCall): Promise<StreamResult> {
  const { run, model, options, fallback } = call;
  const open = begin(call, true);
  let result: StreamResult;
  try {
    result = await model.doStream(options);
  } catch (error) {
    open.end({ outcome: errorOutcome(error, options.abortSignal), fallback });
    throw error;
  }
  const seen: Part[] = [];
  const record = (): Omit<CallEnd, 'outcome'> =>
    run.guard('reading a stream', () => streamRecord(call, seen), {});
  open.partial({ message: () => answerMessage(collect(seen)) });
  const stream = tapStream(result.stream, {
    part: (part) => {
      if (part.type !== 'stream-start' && part.type !== 'response-metadata') open.firstToken();
      seen.push(part);
    },
    end: (end) => {
      open.end({
        outcome: outcomeOf(seen, () => streamOutcome(end, options.abortSignal)),
        fallback,
        ...record(),
      });
    },
  });
  return { ...result, stream };
}

/** An error part is followed by a finish part: the call has failed all the same. */
function outcomeOf(seen: readonly Part[], otherwise: () => CallOutcome): CallOutcome {
  const failure = seen.find((part) => part.type === 'error');
  if (failure !== undefined) return errorOutcome(failure['error'], undefined);
  return seen.some((part) => part.type === 'finish') ? { status: 'ok' } : otherwise();
}

function begin({ run, model, options }: IncumbentCall, streamed: boolean): OpenCall {
  return run.startCall({
    adapter: 'ai-sdk',
    specification: model.specificationVersion,
    requestedModel: model.modelId,
    provider: model.provider,
    policy: null,
    propensity: run.route.propensity,
    messages: () => toMessages(options.prompt, run.rawArguments),
    tools: () => toTools(options.tools),
    parameters: () => samplingParameters(options),
    streamed,
  });
}

function resultRecord({ run }: IncumbentCall, result: GenerateResult): Omit<CallEnd, 'outcome'> {
  return run.guard(
    'reading an answer',
    () => record(run, result.content, result.finishReason, result.usage, result.response),
    {},
  );
}

function streamRecord({ run }: IncumbentCall, seen: readonly Part[]): Omit<CallEnd, 'outcome'> {
  const finish = seen.find((part) => part.type === 'finish');
  const metadata = seen.find((part) => part.type === 'response-metadata');
  const response = { ...pick(metadata, 'id'), ...pick(metadata, 'modelId') };
  return record(run, collect(seen), finish?.['finishReason'], finish?.['usage'], response);
}

function record(
  run: ActiveRun,
  content: readonly Part[],
  finish: unknown,
  usage: unknown,
  response: { readonly id?: string; readonly modelId?: string } | undefined,
): Omit<CallEnd, 'outcome'> {
  for (const part of content) {
    const { toolCallId, input } = part;
    if (part.type === 'tool-call' && typeof input === 'string')
      run.rawArguments.set(String(toolCallId), input);
  }
  const finishReason = finishReasonText(finish);
  return {
    message: () => answerMessage(content),
    usage: usageCounts(usage),
    ...(response?.id === undefined ? {} : { responseId: response.id }),
    ...(response?.modelId === undefined ? {} : { respondedModel: response.modelId }),
    ...(finishReason === undefined ? {} : { finishReason }),
  };
}

function pick<K extends string>(part: Part | undefined, key: K): Partial<Record<K, string>> {
  const value = part?.[key];
  return typeof value === 'string' ? ({ [key]: value } as Record<K, string>) : {};
}

/** Stream parts → content parts: deltas joined by their ids. */
function collect(seen: readonly Part[]): Part[] {
  const parts: Part[] = [];
  const texts = new Map<string, { type: string; text: string }>();
  for (const part of seen) {
    if (part.type === 'text-delta' || part.type === 'reasoning-delta') {
      const type = part.type === 'text-delta' ? 'text' : 'reasoning';
      const key = `${type}:${String(part['id'])}`;
      let open = texts.get(key);
      if (open === undefined) {
        open = { type, text: '' };
        texts.set(key, open);
        parts.push(open);
      }
      open.text += String(part['delta']);
    } else if (part.type === 'tool-call') {
      parts.push(part);
    }
  }
  return parts;
}
