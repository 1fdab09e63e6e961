/** Records for tests, valid unless a test says otherwise. */
import { randomUUID } from 'node:crypto';
import type { NewFeedback } from '../trajectory/feedback.ts';
import type { ModelCallId, TrajectoryId } from '../trajectory/ids.ts';
import type { ModelCall, Reward, Trajectory } from '../trajectory/records.ts';

/** A trainable call on `test@1`; `history`: the call that it continues. */
export function aCall(options: {
  readonly promptIds?: number[];
  readonly completionIds?: number[];
  readonly index?: number;
  readonly history?: ModelCall;
}): ModelCall {
  const { promptIds = [1, 2], completionIds = [3], index = 0, history } = options;
  const before =
    history === undefined
      ? []
      : [...history.request.messages, history.response.message ?? { role: 'assistant' }];
  return {
    kind: 'model-call',
    id: randomUUID() as ModelCallId,
    index,
    adapter: 'ai-sdk',
    served: { requestedModel: 'm', policy: 'test@1', propensity: 1 },
    request: {
      messages: [...before, { role: 'user', content: `turn ${String(index)}` }],
      tools: [],
      parameters: {},
    },
    response: {
      message: { role: 'assistant', content: 'yes' },
      usage: { outputTokens: completionIds.length },
    },
    tokens: { promptIds, completionIds, logprobs: completionIds.map(() => -0.5), logprobsMode: 'raw' },
    trainability: { trainable: true },
    outcome: { status: 'ok' },
    streamed: false,
    startedAt: 1,
    endedAt: 2,
  };
}

export function aTrajectory(given: Partial<Trajectory>): Trajectory {
  return {
    recordVersion: 1,
    id: randomUUID() as TrajectoryId,
    project: 'project',
    name: 'test',
    scenario: null,
    groupId: null,
    split: 'train',
    threadId: null,
    messageId: null,
    policy: 'test@1',
    step: 1,
    outcome: { status: 'finished' },
    events: [aCall({})],
    metadata: {},
    metrics: {},
    startedAt: 1,
    endedAt: 2,
    ...given,
  };
}

export function aReward(trajectoryId: TrajectoryId, value: number): Reward {
  const source = { type: 'code', name: 'test' } as const;
  return { id: randomUUID(), trajectoryId, name: 'test', value, source, createdAt: 1 };
}

/** A thumb up at time 100 on everything in `project`'s thread `thread`, unless a test says otherwise. */
export function aFeedback(given: Partial<NewFeedback>): NewFeedback {
  return {
    id: 'feedback',
    project: 'project',
    target: { threadId: 'thread' },
    name: 'resolved',
    value: 1,
    kind: 'boolean',
    applies: 'all',
    windowMs: null,
    at: 100,
    ...given,
  };
}

/** What the first versions have stored of it: one JSON, with its texts and numbers in it. */
export function olderJson(trajectory: Trajectory): string {
  const events = trajectory.events.map((event) => {
    if (event.kind !== 'model-call') return event;
    const { request, tokens } = event;
    return {
      ...event,
      request: { ...request, messages: { kept: 0, added: request.messages } },
      tokens: tokens === null ? null : { ...tokens, promptIds: { kept: 0, added: tokens.promptIds } },
    };
  });
  return JSON.stringify({ ...trajectory, events });
}
