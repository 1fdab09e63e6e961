/** Tools, recorded where they run: for what no later prompt shows, as the last result of a run. */
import type { AdapterHost } from '../../capture/adapter-host.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { graphRunsOf } from './runs.ts';
import { isObject, messageType, type MessageLike, type Method } from './shapes.ts';
import { noteToolMessage } from './tool-results.ts';

interface ToolCallInput {
  readonly id: string;
  readonly name: string;
  readonly args: unknown;
}

/**
 * Wraps tools, for `ToolNode`, `createAgent` or a node of your own. They do what they do; their results and errors are
 * recorded when they come, and agents that they start belong to the run that called them. Without this, results are
 * recorded when the next model call shows them, and sub-agents are known by the thread of the run around them: enough but
 * for tools that end a run (`returnDirect`), or whose errors do, and for sub-agents of runs without a thread. What is no
 * tool is given back as it is.
 */
export function wrapTools<T>(tools: readonly T[], host: AdapterHost): T[] {
  return tools.map((tool) => wrapTool(tool, host));
}

function wrapTool<T>(tool: T, host: AdapterHost): T {
  if (!isObject(tool) || typeof tool['invoke'] !== 'function') return tool;
  const target: object = tool;
  const original = tool['invoke'] as Method;
  const invoke: Method = async (...given) => {
    const [input, config] = given;
    const call = toolCallOf(input);
    const run = call === undefined ? undefined : runOf(host, config);
    if (run === undefined || call === undefined) return original.apply(target, given);
    try {
      const result = await run.scope(() => original.apply(target, given));
      note(run, call, result);
      return result;
    } catch (error) {
      if (!isInterrupt(error)) noteError(run, call, error);
      throw error;
    }
  };
  return new Proxy(target, {
    get: (_, key) => (key === 'invoke' ? invoke : (Reflect.get(target, key, target) as unknown)),
  }) as T;
}

function toolCallOf(input: unknown): ToolCallInput | undefined {
  if (!isObject(input) || input['type'] !== 'tool_call') return undefined;
  const { id, name, args } = input;
  return typeof id === 'string' && typeof name === 'string' ? { id, name, args } : undefined;
}

function runOf(host: AdapterHost, config: unknown): ActiveRun | undefined {
  const { faults } = host.recorder;
  return faults.guard('looking for a run', () => graphRunsOf(host.recorder).current(config), undefined);
}

function note(run: ActiveRun, { id, name, args }: ToolCallInput, result: unknown): void {
  run.guard(
    'recording a tool result',
    () => {
      const message: MessageLike =
        messageType(result) === 'tool' ? (result as MessageLike) : { content: asContent(result) };
      noteToolMessage(run, { ...pick(message), tool_call_id: id, name }, JSON.stringify(args ?? {}));
    },
    undefined,
  );
}

function pick({ content, status }: MessageLike): MessageLike {
  return { content, ...(status === undefined ? {} : { status }) };
}

function asContent(result: unknown): unknown {
  return typeof result === 'string' ? result : JSON.stringify(result ?? null);
}

function noteError(run: ActiveRun, { id, name, args }: ToolCallInput, error: unknown): void {
  const message = { content: String(error), status: 'error', tool_call_id: id, name };
  run.guard(
    'recording a tool error',
    () => {
      noteToolMessage(run, message, JSON.stringify(args ?? {}));
    },
    undefined,
  );
}

/** What LangGraph throws to wait for a person, or to move between graphs, is no error of the tool. */
function isInterrupt(error: unknown): boolean {
  return isObject(error) && error['is_bubble_up'] === true;
}
