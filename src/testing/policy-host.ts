/** A recorder that routes everything to a scripted model server, for tests. */
import type { PolicyRoute } from '../capture/route.ts';
import {
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectRequest,
  type DialectServer,
} from './openai-dialect-server.ts';
import { memoryHost, type MemoryHost } from './memory-host.ts';

/** The policy that a policy host serves. */
export const policy = 'agent@3';

export interface PolicyHost extends MemoryHost {
  readonly server: DialectServer;
  close(): Promise<void>;
}

/** Starts a scripted server as the policy. `onFailure`: what happens where it cannot answer. */
export async function startPolicyHost(
  answers: readonly DialectAnswer[] | ((request: DialectRequest, index: number) => DialectAnswer),
  onFailure: 'throw' | 'incumbent' = 'throw',
): Promise<PolicyHost> {
  const server = await startOpenAIDialectServer(
    typeof answers === 'function'
      ? answers
      : (_, index) => answers[index] ?? { kind: 'status', status: 400, message: 'no further answer' },
  );
  const route = routeTo(server.baseUrl, onFailure);
  return { ...memoryHost({ choose: () => route }), server, close: () => server.close() };
}

/** The route to the policy, served at `baseUrl`. */
export function routeTo(baseUrl: string, onFailure: PolicyRoute['onFailure'] = 'throw'): PolicyRoute {
  const identity = {
    baseModel: 'base',
    baseDigest: 'sha256:base',
    tokenizerDigest: 'sha256:tokenizer',
    chatTemplateDigest: 'sha256:template',
    contextLength: 4096,
  };
  const endpoint = { baseUrl, apiKey: 'secret-of-the-policy', model: policy, identity };
  return {
    kind: 'policy',
    policy,
    step: 3,
    propensity: 1,
    onFailure,
    endpoint: () => Promise.resolve(endpoint),
  };
}
