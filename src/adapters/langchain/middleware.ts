import type { AdapterHost } from '../../capture/adapter-host.ts';
import type { AgentMiddleware } from 'langchain';
import { isObject } from './shapes.ts';
import { wrapModel, type WrapOptions } from './wrap-model.ts';

/**
 * Middleware for `createAgent` that records the agent's model calls and lets a served policy answer. For agents whose
 * model cannot be wrapped where it is made, as one that is named by a string; else `wrapModel` does the same and changes
 * less, because LangChain wraps errors that pass through middleware.
 *
 * Put it first: then `modelFallbackMiddleware` and `modelRetryMiddleware` work below it, on the policy too.
 */
export function apprenticeMiddleware(host: AdapterHost, options?: WrapOptions): AgentMiddleware {
  const middleware: Pick<AgentMiddleware, 'name' | 'wrapModelCall'> = {
    [Symbol.for('AgentMiddleware')]: true, // how LangChain knows them, whichever copy of it
    name: 'apprentice',
    // No hook before or after the agent: those are nodes of the graph, and would be in its checkpoints. No hook around
    // tools either: LangChain takes errors that pass through one for fatal. Results are read off the next prompt.
    wrapModelCall: (request, handler) => {
      const given: unknown = request.model;
      if (!isObject(given)) return handler(request);
      return handler({ ...request, model: wrapModel(request.model, host, options) });
    },
  };
  return middleware as AgentMiddleware;
}
