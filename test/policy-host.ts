/** A recorder that routes everything to a scripted model server, for tests. */
import type { Route } from '../src/capture/route.ts';
import {
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectRequest,
  type DialectServer,
} from '../src/testing/openai-dialect-server.ts';
import { memoryHost, type MemoryHost } from './memory-host.ts';

export const policy = 'agent@3';

export interface PolicyHost extends MemoryHost {
  readonly server: DialectServer;
  close(): Promise<void>;
}

export async function startPolicyHost(
  answers: readonly DialectAnswer[] | ((request: DialectRequest, index: number) => DialectAnswer),
  onFailure: 'throw' | 'incumbent' = 'throw',
): Promise<PolicyHost> {
  const server = await startOpenAIDialectServer(
    typeof answers === 'function'
      ? answers
      : (_, index) => answers[index] ?? { kind: 'status', status: 400, message: 'no further answer' },
  );
  const identity = {
    baseModel: 'base',
    baseDigest: 'sha256:base',
    tokenizerDigest: 'sha256:tokenizer',
    chatTemplateDigest: 'sha256:template',
    contextLength: 4096,
  };
  const route: Route = {
    kind: 'policy',
    policy,
    step: 3,
    propensity: 1,
    onFailure,
    endpoint: () =>
      Promise.resolve({ baseUrl: server.baseUrl, apiKey: 'secret-of-the-policy', model: policy, identity }),
  };
  return { ...memoryHost({ choose: () => route }), server, close: () => server.close() };
}
