/** Where a case of the contract plays: a scripted server, a recorder in memory, and the agent on both. */
import assert from 'node:assert/strict';
import type { ModelCall, Trajectory } from '../../trajectory/records.ts';
import { memoryHost, type MemoryHost } from '../memory-host.ts';
import {
  fakeAnswerIds,
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectRequest,
  type DialectServer,
} from '../openai-dialect-server.ts';
import { policy, startPolicyHost } from '../policy-host.ts';
import type { AdapterUnderTest, AgentUnderTest } from './subject.ts';

/** Who answers the agent. */
export type Answerer = 'incumbent' | 'policy';

export type Script = readonly DialectAnswer[] | ((request: DialectRequest, index: number) => DialectAnswer);

export interface Stage {
  readonly who: Answerer;
  readonly agent: AgentUnderTest;
  readonly host: MemoryHost;
  /** The server that the script is of. */
  readonly server: DialectServer;
}

/** How long a case may take, milliseconds: an agent that waits for ever fails its case instead of stopping the suite. */
const caseMs = 15_000;

/** Nothing answers there: whatever is sent to it fails. */
const nowhere = 'http://127.0.0.1:9/v1';

/** Plays `play` with the script spoken by `who`; what was swallowed of our own faults fails the case. */
export async function onStage(
  adapter: AdapterUnderTest,
  who: Answerer,
  script: Script,
  play: (stage: Stage) => Promise<void>,
  maxRetries = 0,
): Promise<void> {
  const opened = await open(who, script);
  const { host, server, baseUrl } = opened;
  try {
    const agent = adapter.connect({ baseUrl, apiKey: 'key-of-the-user', host, maxRetries });
    await within(caseMs, play({ who, agent, host, server }));
    assert.deepEqual(host.faults(), {}, 'faults of the recorder were swallowed');
  } finally {
    await server.close();
  }
}

async function open(
  who: Answerer,
  script: Script,
): Promise<{ host: MemoryHost; server: DialectServer; baseUrl: string }> {
  switch (who) {
    case 'incumbent': {
      const server = await startScript(script);
      return { host: memoryHost(), server, baseUrl: server.baseUrl };
    }
    case 'policy': {
      const host = await startPolicyHost(script);
      return { host, server: host.server, baseUrl: nowhere };
    }
    default:
      return who satisfies never;
  }
}

/** A server that speaks the script to its end and refuses everything after it. */
export function startScript(script: Script): Promise<DialectServer> {
  if (typeof script === 'function') return startOpenAIDialectServer(script);
  return startOpenAIDialectServer(
    (_, index) => script[index] ?? { kind: 'status', status: 400, message: 'no further answer' },
  );
}

/** The only trajectory of the case. */
export function onlyTrajectory(host: MemoryHost): Trajectory {
  const finished = host.finished();
  assert.equal(finished.length, 1, `there are ${String(finished.length)} trajectories`);
  return finished[0] as Trajectory;
}

export function callsOf(trajectory: Trajectory): ModelCall[] {
  return trajectory.events.filter((event) => event.kind === 'model-call');
}

/** An answer of a policy is on record with its ids, as many logprobs and as many counted; the incumbent's without. */
export function assertAnswered(call: ModelCall | undefined, who: Answerer, answer: DialectAnswer): void {
  assert.ok(call !== undefined, 'the call is missing');
  assert.deepEqual(call.outcome, { status: 'ok' });
  if (answer.kind === 'text') assert.equal(call.response.message?.content, answer.text);
  if (who === 'incumbent') {
    assert.equal(call.served.policy, null);
    assert.equal(call.tokens, null);
    assert.deepEqual(call.trainability, { trainable: false, reason: 'incumbent' });
    return;
  }
  assert.ok(answer.kind !== 'status');
  const ids = fakeAnswerIds(answer);
  assert.equal(call.served.policy, policy);
  assert.deepEqual(call.tokens?.completionIds, ids);
  assert.equal(call.tokens.logprobs.length, ids.length);
  assert.equal(call.response.usage.outputTokens, ids.length);
  assert.equal(call.response.usage.inputTokens, call.tokens.promptIds.length);
  assert.deepEqual(call.trainability, { trainable: true });
}

async function within(milliseconds: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new assert.AssertionError({ message: `the case took more than ${String(milliseconds)} ms` }));
    }, milliseconds);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
