/** What is kept of an answer of the user's own model. */
import type { CallAnswer } from '../../capture/capture.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { answerMessage } from './messages.ts';
import { finishReasonText, usageCounts, type Part } from './specification.ts';

/** An answer as `doGenerate` gives it. */
export interface GivenAnswer {
  readonly content: readonly Part[];
  readonly finishReason: unknown;
  readonly usage: unknown;
  readonly id: string | undefined;
  readonly modelId: string | undefined;
}

export function answerRecord(run: ActiveRun, answer: GivenAnswer): CallAnswer {
  const { content, finishReason, usage, id, modelId } = answer;
  // Calls are read in their order, so that those after this one find the arguments.
  keepArguments(run, content);
  return {
    message: () => answerMessage(content),
    usage: usageCounts(usage),
    responseId: id,
    respondedModel: modelId,
    finishReason: finishReasonText(finishReason),
  };
}

/** As a policy may answer the very next call. */
export function keepArgumentsNow(run: ActiveRun, content: () => readonly Part[]): void {
  run.guard(
    'keeping tool arguments',
    () => {
      keepArguments(run, content());
    },
    undefined,
  );
}

/** For the messages of later calls, which hold the arguments as they were written. */
function keepArguments(run: ActiveRun, content: readonly Part[]): void {
  for (const { type, toolCallId, input } of content)
    if (type === 'tool-call' && typeof input === 'string') run.rawArguments.set(String(toolCallId), input);
}
