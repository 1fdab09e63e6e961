/** Who is called and with what: for the record. Read from the model itself, whichever provider it is of. */
import type { CallStart } from '../../capture/capture.ts';
import { isChatModel, isObject, methodOf, type ChatRunnable } from './shapes.ts';

type Description = Pick<CallStart, 'requestedModel' | 'provider'>;

const described = new WeakMap<object, Description>();

/** Model name and provider, looked up once for each model. */
export function describeModel(model: ChatRunnable): Description {
  let found = described.get(model);
  if (found === undefined) described.set(model, (found = lookUp(chatModelIn(model))));
  return found;
}

/** The tools of a call, in the form in which they go to the provider. */
export function givenTools(model: ChatRunnable, options: unknown): readonly unknown[] {
  const { tools } = parametersOf(model, options);
  return Array.isArray(tools) ? (plain(tools) as unknown[]) : [];
}

/** The settings of a call: the model's own, those that are bound and those that are given with the call. */
export function givenParameters(model: ChatRunnable, options: unknown): Readonly<Record<string, unknown>> {
  const {
    tools: _,
    model: __,
    messages: ___,
    stream: ____,
    stream_options: _____,
    ...rest
  } = parametersOf(model, options);
  return plain(rest) as Record<string, unknown>;
}

/** The chat model inside bindings. */
export function chatModelIn(model: ChatRunnable): ChatRunnable {
  let inner = model;
  while (!isChatModel(inner) && isObject(inner['bound'])) inner = inner['bound'] as ChatRunnable;
  return inner;
}

function lookUp(model: ChatRunnable): Description {
  const name = [model['model'], model['modelName'], model['modelId']].find((one) => typeof one === 'string');
  const parameters = methodOf(model, 'getLsParams')?.call(model, {});
  const provider = isObject(parameters) ? parameters['ls_provider'] : undefined;
  const type = methodOf(model, '_llmType')?.call(model);
  const requestedModel = name ?? (typeof type === 'string' ? type : 'unknown');
  return { requestedModel, ...(typeof provider === 'string' ? { provider } : {}) };
}

/** The options that are bound to a model, in the order in which LangChain lets them win. */
export function boundOptions(model: ChatRunnable): Readonly<Record<string, unknown>> {
  let bound: Record<string, unknown> = {};
  let inner = model;
  while (!isChatModel(inner) && isObject(inner['bound'])) {
    bound = { ...spread(inner['config']), ...spread(inner['kwargs']), ...bound };
    inner = inner['bound'] as ChatRunnable;
  }
  return { ...spread(inner['defaultOptions']), ...bound };
}

function parametersOf(model: ChatRunnable, options: unknown): Readonly<Record<string, unknown>> {
  const inner = chatModelIn(model);
  const all: Record<string, unknown> = { ...boundOptions(model), ...spread(options) };
  const parameters = spread(methodOf(inner, 'invocationParams')?.call(inner, all));
  const { tools } = all;
  return { ...parameters, ...(parameters['tools'] === undefined && tools !== undefined ? { tools } : {}) };
}

function spread(value: unknown): Record<string, unknown> {
  return isObject(value) ? { ...value } : {};
}

/** As JSON: settings hold schemas and classes of all sorts. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}
