/** The one line that users change: a chat model in, the same chat model out, recorded and rerouted. */
import type { AdapterHost } from '../../capture/adapter-host.ts';
import type { Recorder } from '../../capture/recorder.ts';
import { InvalidOptionError } from '../../errors.ts';
import { chatModelIn } from './description.ts';
import { ModelCalls, type WrappedModel } from './model-calls.ts';
import { isOfOpenAI } from './policy/chat-openai.ts';
import type { PolicySettings } from './policy/model.ts';
import { isChatModel, isChatRunnable, isObject, type ChatRunnable, type Method } from './shapes.ts';

export interface WrapOptions {
  /**
   * Whether a served policy may answer. `false` records only: for models beside the task, as one that writes summaries.
   * Default: true.
   */
  readonly reroute?: boolean;
  /** How the policy is called. */
  readonly policy?: PolicySettings;
}

const wrapped = Symbol.for('apprentice.langchain.wrapped');
const proxies = new WeakMap<Recorder, WeakMap<object, object>>();
const warned = new Set<string>();

/**
 * Wraps a chat model of LangChain 1.x, of any provider, also one with tools or settings bound to it. The result is a
 * drop-in of the same class for `createAgent`, LangGraph nodes, chains and direct calls: it records each call and, once
 * a policy is live, lets the policy answer. Anything that is no chat model is given back as it is, with one warning.
 *
 * Calls inside `apprentice.run` belong to that run; else all calls of one run of a graph belong together, with its
 * thread id; else each call is a run of its own.
 *
 * Throws InvalidOptionError for what is no object, as the name of a model.
 */
export function wrapModel<M extends object>(model: M, host: AdapterHost, options: WrapOptions = {}): M {
  if (!isObject(model)) {
    throw new InvalidOptionError({
      field: 'model',
      received: model,
      expected: 'a chat model of LangChain',
      fix: 'Make the model, for instance by initChatModel, or use apprenticeMiddleware with an agent whose model is named.',
    });
  }
  if (wrapped in model) {
    if (Reflect.get(model, wrapped) !== host.recorder)
      warnOnce('The model is already wrapped by another apprentice, which goes on recording it alone.');
    return model;
  }
  if (!isChatRunnable(model)) {
    warnOnce('What was given to wrapModel is no chat model of LangChain and passes through unrecorded.');
    return model;
  }
  const make = (): object =>
    makeProxy({
      target: model,
      root: model,
      operations: [],
      recorder: host.recorder,
      reroute: options.reroute ?? true,
      policy: options.policy ?? {},
    });
  // Middleware wraps at each call: the same model gives the same wrapped model.
  if (Object.keys(options).length > 0) return make() as M;
  let known = proxies.get(host.recorder);
  if (known === undefined) proxies.set(host.recorder, (known = new WeakMap()));
  let proxy = known.get(model);
  if (proxy === undefined) known.set(model, (proxy = make()));
  return proxy as M;
}

/** Whether `wrapModel` has made this. */
export function isWrapped(model: object): boolean {
  return wrapped in model;
}

/** Methods that end in others which are watched: as the base class of all runnables has them, on the wrapped model. */
const ofRunnable = new Set(['batch', 'transform', 'withRetry', 'withListeners']);
/** What gives the same model with something bound to it. */
const binding = new Set(['bindTools', 'withConfig']);

/**
 * A proxy, and no subclass of LangChain's base class: that would have to be imported, from the right copy, and to mirror
 * everything that frameworks read off a model (profile, names, cache, what can be serialised).
 */
function makeProxy(model: WrappedModel): object {
  const { target, recorder } = model;
  const calls = new ModelCalls(model);
  const own = new Map<PropertyKey, unknown>([[wrapped, recorder]]);
  const proxy = new Proxy(target, {
    get(_, key) {
      if (own.has(key)) return own.get(key);
      const value: unknown = Reflect.get(target, key, target);
      if (typeof key !== 'string') return value;
      if (key === 'bound' && isChatRunnable(value)) {
        const inner = makeProxy({ ...model, target: value, root: value, operations: [] });
        own.set(key, inner);
        return inner;
      }
      if (typeof value !== 'function') return value;
      const method = watched(key, value as Method);
      if (method !== value) own.set(key, method);
      return method;
    },
    set(_, key, value) {
      own.delete(key);
      return Reflect.set(target, key, value, target);
    },
    has: (_, key) => key === wrapped || Reflect.has(target, key),
  });

  const watched = (key: string, method: Method): Method => {
    switch (key) {
      case 'invoke':
        return (...given) => calls.invoke(given);
      case 'stream':
        return (...given) => calls.stream(given);
      case 'generate':
      case 'generatePrompt':
        return (...given) => calls.generateMany(key, given);
      case '_generate':
        return (...given) => calls.generateOne(given);
      case '_streamIterator':
      case '_streamResponseChunks':
      case '_streamChatModelEvents':
        return (...given) => calls.iterate(key, given);
      case 'streamV2':
        return (...given) => calls.events(key, given);
      case 'streamEvents':
        return (...given) => {
          const [, options] = given;
          const version = isObject(options) ? options['version'] : undefined;
          // The older versions are made of `stream` and of callbacks.
          if (version === 'v1' || version === 'v2') return topmost(target, key)?.apply(proxy, given);
          return calls.events(key, given);
        };
      case 'withStructuredOutput':
        return (...given) => {
          const chain = method.apply(proxy, given);
          return isOfOpenAI(chatModelIn(target)) || !isObject(chain)
            ? chain
            : calls.structured(chain as ChatRunnable, given);
        };
      default:
        if (binding.has(key)) return (...given) => derive(key, method, given);
        if (ofRunnable.has(key)) return topmost(target, key) ?? method;
        // LangChain's own code goes on with the wrapped model; a provider's class may have private fields.
        return key === 'constructor' || isOfCore(target, key) ? method : method.bind(target);
    }
  };

  const derive = (name: string, method: Method, given: readonly unknown[]): unknown => {
    const result = method.apply(target, [...given]);
    if (!isChatRunnable(result)) return result;
    return makeProxy({ ...model, target: result, operations: [...model.operations, { name, given }] });
  };
  return proxy;
}

/** The method that the base class of all runnables has under this name. */
function topmost(target: object, name: string): Method | undefined {
  let found: Method | undefined;
  for (let at: object | null = target; at !== null && at !== Object.prototype; at = prototypeOf(at)) {
    const value: unknown = Reflect.getOwnPropertyDescriptor(at, name)?.value;
    if (typeof value === 'function') found = value as Method;
  }
  return found;
}

/** Whether the method is that of a class of `@langchain/core`, from the base class of chat models or bindings on. */
function isOfCore(target: ChatRunnable, name: string): boolean {
  const marker = isChatModel(target) ? 'generatePrompt' : '_mergeConfig';
  let inCore = false;
  for (let at: object | null = target; at !== null; at = prototypeOf(at)) {
    inCore ||= at !== target && Object.hasOwn(at, marker);
    if (Object.hasOwn(at, name)) return inCore;
  }
  return false;
}

function prototypeOf(value: object): object | null {
  return Object.getPrototypeOf(value) as object | null;
}

function warnOnce(message: string): void {
  if (warned.has(message)) return;
  warned.add(message);
  process.emitWarning(`apprentice: ${message}`, { code: 'APPRENTICE_NOT_WRAPPED' });
}
