/** An existing agent of `createAgent`, recorded. */
import type { AdapterHost } from '../../capture/adapter-host.ts';
import { InvalidOptionError } from '../../errors.ts';
import { apprenticeMiddleware } from './middleware.ts';
import { invocations } from './runs.ts';
import { isObject, methodOf, type Method } from './shapes.ts';
import { wrapTools } from './tools.ts';
import { wrapModel, type WrapOptions } from './wrap-model.ts';

interface AgentOptions {
  readonly model: unknown;
  readonly tools?: readonly unknown[];
  readonly middleware?: readonly unknown[];
}

interface Agent {
  options: AgentOptions;
  checkpointer?: unknown;
  store?: unknown;
  withConfig(config: object): Agent;
}

/**
 * The same agent with its model and tools wrapped: same middleware, checkpointer and settings. Its runs are also known by
 * the `runId` that is given to `invoke`, `stream` or `streamEvents`, for feedback. The agent that was given stays as it
 * is.
 *
 * Throws InvalidOptionError for anything that `createAgent` has not made: a compiled graph cannot be opened.
 */
export function instrument<A extends object>(agent: A, host: AdapterHost, options?: WrapOptions): A {
  if (!isAgent(agent)) {
    throw new InvalidOptionError({
      field: 'agent',
      received: agent.constructor.name,
      expected: 'an agent that createAgent has made',
      fix: 'For a graph of your own, or createReactAgent, wrap the model that you give to it: wrapModel(model, apprentice).',
    });
  }
  const twin = rebuilt(agent, recordedOptions(agent.options, host, options));
  if (twin.checkpointer !== agent.checkpointer) twin.checkpointer = agent.checkpointer;
  if (twin.store !== agent.store) twin.store = agent.store;
  for (const name of ['invoke', 'stream', 'streamEvents']) {
    const method = methodOf(twin, name);
    if (method !== undefined) Object.defineProperty(twin, name, { value: named(twin, method) });
  }
  return twin as Agent & A;
}

function recordedOptions(
  options: AgentOptions,
  host: AdapterHost,
  wrapOptions: WrapOptions | undefined,
): AgentOptions {
  const { model, middleware = [], tools } = options;
  const recorded = { ...options, ...(tools === undefined ? {} : { tools: wrapTools(tools, host) }) };
  // A model that is only named is made when it is called; middleware gets to see it then.
  return isObject(model)
    ? { ...recorded, model: wrapModel(model, host, wrapOptions) }
    : { ...recorded, middleware: [apprenticeMiddleware(host, wrapOptions), ...middleware] };
}

/** By the agent's own `withConfig`, because the configuration that it has by now is private to it. */
function rebuilt(agent: Agent, options: AgentOptions): Agent {
  const before = agent.options;
  agent.options = options;
  try {
    return agent.withConfig({});
  } finally {
    agent.options = before;
  }
}

function named(agent: object, method: Method): Method {
  return (...given) => {
    const [, config] = given;
    const runId = isObject(config) ? config['runId'] : undefined;
    const run = () => method.apply(agent, given);
    return typeof runId === 'string' ? invocations.run({ runId }, run) : run();
  };
}

function isAgent(value: object): value is Agent {
  return 'options' in value && isObject(value.options) && 'model' in value.options && 'graph' in value;
}
