/** Derived views of a trajectory, for rewards, judges and reports. Pure. */
import type { Message, ModelCall, ToolResult, Trajectory } from './records.ts';

/** A message's text: its content, parts joined. Tool calls and reasoning are left out. */
export function textOf(message: Message | null | undefined): string {
  const content = message?.content;
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return (content as readonly unknown[])
    .flatMap((part) =>
      typeof part === 'object' && part !== null && 'text' in part && typeof part.text === 'string'
        ? [part.text]
        : [],
    )
    .join('');
}

export function modelCalls(trajectory: Trajectory): ModelCall[] {
  return trajectory.events.filter((event) => event.kind === 'model-call');
}

export function toolResults(trajectory: Trajectory): ToolResult[] {
  return trajectory.events.filter((event) => event.kind === 'tool-result');
}

/** The text of the last answer that was given; empty where there is none. Side calls do not count. */
export function finalText(trajectory: Trajectory): string {
  const last = modelCalls(trajectory).findLast(
    (call) => !isSideCall(call) && call.outcome.status === 'ok' && textOf(call.response.message) !== '',
  );
  return textOf(last?.response.message);
}

export interface ToolCallView {
  readonly callId: string;
  readonly toolCallId: string;
  readonly name: string;
  /** As the model wrote them: may be no JSON. */
  readonly arguments: string;
}

/** The tools that the model called, in their order. */
export function toolCalls(trajectory: Trajectory): ToolCallView[] {
  return modelCalls(trajectory).flatMap((call) => {
    const calls: unknown = call.response.message?.['tool_calls'];
    return (Array.isArray(calls) ? calls : []).flatMap((one: unknown) => toolCallView(call.id, one));
  });
}

export interface Totals {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Of calls whose price is known. */
  readonly usd: number;
  /** Calls to a model of the user's whose price is not known. */
  readonly unpricedCalls: number;
}

/** Tokens and money of all calls, failed ones included as far as they say. */
export function totalsOf(trajectory: Trajectory): Totals {
  let [inputTokens, outputTokens, usd, unpricedCalls] = [0, 0, 0, 0];
  for (const { response, tokens, cost, served } of modelCalls(trajectory)) {
    inputTokens += response.usage.inputTokens ?? tokens?.promptIds.length ?? 0;
    outputTokens += response.usage.outputTokens ?? tokens?.completionIds.length ?? 0;
    usd += cost?.usd ?? 0;
    if (cost === undefined && served.policy === null) unpricedCalls += 1;
  }
  return { inputTokens, outputTokens, usd, unpricedCalls };
}

export function isSideCall(call: ModelCall): boolean {
  return !call.trainability.trainable && call.trainability.reason === 'side-call';
}

/** All that the model wrote in answers, reasoning left out. */
export function writtenText(trajectory: Trajectory): string {
  return modelCalls(trajectory)
    .filter((call) => !isSideCall(call))
    .map((call) => textOf(call.response.message))
    .filter((text) => text !== '')
    .join('\n');
}

function toolCallView(callId: string, one: unknown): ToolCallView[] {
  if (typeof one !== 'object' || one === null || !('function' in one)) return [];
  const { function: called } = one;
  if (typeof called !== 'object' || called === null) return [];
  const id = 'id' in one ? String(one.id) : '';
  const name = 'name' in called ? String(called.name) : '';
  const given = 'arguments' in called ? called.arguments : '';
  return [
    { callId, toolCallId: id, name, arguments: typeof given === 'string' ? given : JSON.stringify(given) },
  ];
}
