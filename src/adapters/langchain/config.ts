/** The configuration that a call runs under: its own options, or what LangGraph keeps for the code of a node. */
import { isObject, type CallConfig } from './shapes.ts';

interface Storage {
  getStore(): { readonly extra?: Readonly<Record<symbol, CallConfig | undefined>> } | undefined;
}

const storageKey = Symbol.for('ls:tracing_async_local_storage');
const configKey = Symbol.for('lc:child_config');

/** The configuration of the node or runnable around the code that calls this; all copies of LangChain share it. */
export function ambientConfig(): CallConfig | undefined {
  const storage = Reflect.get(globalThis, storageKey) as Storage | undefined;
  return storage?.getStore()?.extra?.[configKey];
}

/** Nodes may hand their configuration on to the model, or only the part that they know, or nothing. */
export function configOf(options: unknown): CallConfig | undefined {
  const given = isObject(options) ? (options as CallConfig) : undefined;
  return given?.writer === undefined ? (ambientConfig() ?? given) : given;
}

/** What is the same object in all nodes, subgraphs and tools of one run of a graph, and in no other run. */
export function invocationOf(config: CallConfig | undefined): object | undefined {
  const { writer } = config ?? {};
  return typeof writer === 'function' ? writer : undefined;
}

export function threadOf(config: CallConfig | undefined): string | undefined {
  return text(config?.configurable?.['thread_id'] ?? config?.metadata?.['thread_id']);
}

/**
 * The thread of the graph inside which this one runs, started by a tool that did not hand its configuration on: LangGraph
 * then begins a run of its own, but keeps what it knows of the outer one.
 */
export function outerThreadOf(config: CallConfig | undefined): string | undefined {
  const outer = text(config?.metadata?.['thread_id']);
  const inner = text(config?.configurable?.['thread_id']);
  const namespace = text(config?.configurable?.['checkpoint_ns']);
  return outer !== inner || namespace?.includes('|') === true ? outer : undefined;
}

/** The id of the whole run, where the caller or LangGraph's server has given it to the nodes. */
export function runIdOf(config: CallConfig | undefined): string | undefined {
  return text(config?.configurable?.['run_id'] ?? config?.metadata?.['run_id']);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
