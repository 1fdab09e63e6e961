/** Runs for the store: what they say is made beforehand, as making it takes longer than storing it. */
import { randomUUID } from 'node:crypto';
import { timeOrderedId, type ModelCallId, type TrajectoryId } from '../../src/trajectory/ids.ts';
import type { Message, ModelCall, Tokens, Trajectory } from '../../src/trajectory/records.ts';
import { prose } from '../words.ts';

/** What the calls of a run say. */
export type RunContent = readonly CallContent[];
interface CallContent {
  readonly messages: Message[];
  readonly answer: Message;
  readonly tokens: Tokens;
}

const calls = 3;
const tokensOfAnswer = 32;

/** Of an agent with a long system prompt, two tool results and sampled tokens: 9 KB or so. */
export function runContent(): RunContent {
  const messages: Message[] = [
    { role: 'system', content: prose(1500) },
    { role: 'user', content: prose(300) },
  ];
  const ids = Array.from({ length: 60 }, (_, at) => (at * 7919) % 50_000);
  return Array.from({ length: calls }, (_, index) => {
    const completionIds = Array.from({ length: tokensOfAnswer }, (_, at) => (at * 104_729 + index) % 50_000);
    const logprobs = completionIds.map(() => -Math.random());
    const answer = { role: 'assistant', content: prose(200) };
    const content: CallContent = {
      messages: [...messages],
      answer,
      tokens: { promptIds: [...ids], completionIds, logprobs, logprobsMode: 'raw' },
    };
    ids.push(...completionIds);
    messages.push(answer, { role: 'tool', tool_call_id: randomUUID(), content: prose(1000) });
    return content;
  });
}

/** A run of its own, made as the recorder makes it, which says what `content` says. */
export function agentRun(content: RunContent): Trajectory {
  const id = timeOrderedId() as TrajectoryId;
  const now = Date.now();
  return {
    recordVersion: 1,
    id,
    project: 'bench',
    name: 'bench',
    scenario: null,
    groupId: null,
    split: 'production',
    threadId: randomUUID(),
    messageId: null,
    policy: 'bench@1',
    step: 1,
    outcome: { status: 'finished' },
    events: content.map(({ messages, answer, tokens }, index): ModelCall => ({
      kind: 'model-call',
      id: `${id}.${String(index)}` as ModelCallId,
      index,
      adapter: 'ai-sdk',
      served: { requestedModel: 'model', policy: 'bench@1', propensity: 1 },
      request: { messages, tools: [], parameters: { temperature: 1 } },
      response: { id: randomUUID(), message: answer, usage: { outputTokens: tokensOfAnswer } },
      tokens,
      trainability: { trainable: true },
      outcome: { status: 'ok' },
      streamed: false,
      startedAt: now,
      endedAt: now,
    })),
    metadata: {},
    metrics: {},
    startedAt: now,
    endedAt: now,
  };
}

/** Bytes of a run that says it, as JSON, each text and each number once. */
export function jsonBytes(content: RunContent): number {
  const heard = content.at(-1)?.messages.filter(({ role }) => role !== 'assistant') ?? [];
  const news = content.map((call, index) => ({
    ...call,
    messages: index === 0 ? heard : [],
    tokens: { ...call.tokens, promptIds: index === 0 ? call.tokens.promptIds : [] },
  }));
  return JSON.stringify(agentRun(news)).length;
}
