/**
 * One agent run on its way to a trajectory. Append-only; takes references while the agent works and builds records
 * once, when the run is finished. Nothing in here throws into the host.
 */
import type { ModelCallId, TrajectoryId } from '../trajectory/ids.ts';
import {
  recordVersion,
  type ModelCall,
  type ToolResult,
  type Trajectory,
  type TrajectoryEvent,
} from '../trajectory/records.ts';
import type { CallEnd, CallStart, OpenCall, Run, RunOptions } from './capture.ts';
import type { FaultCounter } from './faults.ts';
import type { Route } from './route.ts';
import { withRun } from './scope.ts';
import { trainabilityOf } from './trainability.ts';

export interface RunParts {
  readonly project: string;
  readonly name: string;
  readonly route: Route;
  readonly options: RunOptions;
  readonly parent: ActiveRun | undefined;
  readonly faults: FaultCounter;
  readonly now: () => number;
  readonly newId: () => string;
  /** Comes once, with the finished trajectory. */
  readonly onFinished: (trajectory: Trajectory) => void;
  /** A call came to its end; `open` are still in flight. */
  readonly onIdle?: () => void;
}

interface CallDraft {
  readonly id: string;
  readonly start: CallStart;
  readonly startedAt: number;
  firstTokenAt?: number;
  partial?: Omit<CallEnd, 'outcome'>;
  end?: CallEnd;
  endedAt?: number;
}

type Draft = { readonly call: CallDraft } | { readonly tool: Omit<ToolResult, 'index'> };

export class ActiveRun implements Run {
  readonly id: string;
  readonly route: Route;
  readonly rawArguments = new Map<string, string>();
  readonly #parts: RunParts;
  readonly #drafts: Draft[] = [];
  readonly #metrics: Record<string, number> = {};
  readonly #toolResults = new Set<string>();
  readonly #startedAt: number;
  #open = 0;
  #lastOpenedId: string | undefined;
  #finished: Trajectory | undefined;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.id = parts.newId();
    this.route = parts.route;
    this.#startedAt = parts.now();
  }

  get policy(): string | null {
    return this.route.kind === 'policy' ? this.route.policy : null;
  }

  /** Calls that are in flight. */
  get openCalls(): number {
    return this.#open;
  }

  get isFinished(): boolean {
    return this.#finished !== undefined;
  }

  /** Id of the call that was started last: the parent of runs that its tools start. */
  get lastCallId(): string | undefined {
    return this.#lastOpenedId;
  }

  /** Runs `start` so that the calls which it makes belong to this run. */
  scope<T>(start: () => T): T {
    return withRun(this, start);
  }

  startCall(start: CallStart): OpenCall {
    const { newId, now } = this.#parts;
    const draft: CallDraft = { id: newId(), start, startedAt: now() };
    this.#drafts.push({ call: draft });
    this.#open += 1;
    this.#lastOpenedId = draft.id;
    return {
      id: draft.id,
      firstToken: () => {
        draft.firstTokenAt ??= now();
      },
      partial: (partial) => {
        draft.partial = partial;
      },
      end: (end) => {
        if (draft.end !== undefined) return;
        draft.end = end;
        draft.endedAt = now();
        this.#open -= 1;
        this.#parts.onIdle?.();
      },
    };
  }

  toolResult(result: Omit<ToolResult, 'kind' | 'index' | 'at'>): void {
    // The same result comes back with every later prompt of the run.
    if (this.#toolResults.has(result.toolCallId)) return;
    this.#toolResults.add(result.toolCallId);
    this.#drafts.push({ tool: { kind: 'tool-result', at: this.#parts.now(), ...result } });
  }

  /** Runs a part of the recording that may fail; a throw is counted and gives `otherwise`. */
  guard<T>(place: string, work: () => T, otherwise: T): T {
    return this.#parts.faults.guard(place, work, otherwise);
  }

  metric(name: string, value: number): void {
    this.#metrics[name] = value;
  }

  finish(outcome: Trajectory['outcome'] = { status: 'finished' }): Trajectory {
    if (this.#finished !== undefined) return this.#finished;
    const { options, parent, project, name, now, route } = { ...this.#parts, route: this.route };
    const events = this.#drafts.map((draft, index): TrajectoryEvent =>
      'call' in draft ? this.#toModelCall(draft.call, index) : { ...draft.tool, index },
    );
    const trajectory: Trajectory = {
      recordVersion,
      id: this.id as TrajectoryId,
      project,
      name,
      ...(parent === undefined ? {} : { parentId: parent.id as TrajectoryId }),
      ...(parent?.lastCallId === undefined ? {} : { parentCallId: parent.lastCallId as ModelCallId }),
      scenario: options.scenario ?? null,
      groupId: options.groupId ?? null,
      split: options.split ?? 'production',
      threadId: options.threadId ?? null,
      messageId: options.messageId ?? null,
      policy: this.policy,
      step: route.kind === 'policy' ? route.step : null,
      outcome,
      events,
      metadata: (options.metadata ?? {}) as Trajectory['metadata'],
      metrics: this.#metrics,
      startedAt: this.#startedAt,
      endedAt: now(),
    };
    this.#finished = trajectory;
    this.#parts.faults.guard(
      'handing over a trajectory',
      () => {
        this.#parts.onFinished(trajectory);
      },
      undefined,
    );
    return trajectory;
  }

  #toModelCall(draft: CallDraft, index: number): ModelCall {
    const { start } = draft;
    const { faults } = this.#parts;
    const known: Partial<CallEnd> = draft.end ?? draft.partial ?? {};
    const outcome: ModelCall['outcome'] = draft.end?.outcome ?? { status: 'abandoned' };
    const parameters = faults.guard('reading the parameters of a call', start.parameters, {});
    const tokens: ModelCall['tokens'] =
      known.tokens === undefined
        ? null
        : {
            promptIds: known.tokens.promptIds as number[],
            completionIds: known.tokens.completionIds as number[],
            logprobs: known.tokens.logprobs as (number | null)[],
            logprobsMode: 'raw',
          };
    const fallback = known.fallback === true;
    const identity = start.identity?.();
    return {
      kind: 'model-call',
      id: draft.id as ModelCallId,
      index,
      adapter: start.adapter,
      ...(start.specification === undefined ? {} : { specification: start.specification }),
      served: {
        requestedModel: start.requestedModel,
        ...(known.respondedModel === undefined ? {} : { respondedModel: known.respondedModel }),
        ...(start.provider === undefined ? {} : { provider: start.provider }),
        policy: fallback ? null : start.policy,
        ...(identity === undefined
          ? {}
          : {
              baseDigest: identity.baseDigest,
              tokenizerDigest: identity.tokenizerDigest,
              chatTemplateDigest: identity.chatTemplateDigest,
            }),
        propensity: start.propensity,
      },
      request: {
        messages: faults.guard(
          'reading the messages of a call',
          start.messages,
          [],
        ) as ModelCall['request']['messages'],
        tools: faults.guard('reading the tools of a call', start.tools, []) as ModelCall['request']['tools'],
        parameters: parameters as ModelCall['request']['parameters'],
      },
      response: {
        ...(known.responseId === undefined ? {} : { id: known.responseId }),
        message: faults.guard('reading the answer of a call', () => known.message?.() ?? null, null),
        ...(known.finishReason === undefined ? {} : { finishReason: known.finishReason }),
        usage: definedOnly(known.usage ?? {}),
      },
      tokens,
      trainability: trainabilityOf({
        policy: start.policy,
        outcome,
        fallback,
        tokens,
        outputTokens: known.usage?.outputTokens,
        temperature: parameters['temperature'],
        topP: parameters['top_p'],
      }),
      outcome,
      streamed: start.streamed,
      ...(start.retryOf === undefined ? {} : { retryOf: start.retryOf as ModelCallId }),
      startedAt: draft.startedAt,
      ...(draft.firstTokenAt === undefined ? {} : { firstTokenAt: draft.firstTokenAt }),
      ...(draft.endedAt === undefined ? {} : { endedAt: draft.endedAt }),
    };
  }
}

function definedOnly(usage: {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
}): ModelCall['response']['usage'] {
  return {
    ...(usage.inputTokens === undefined ? {} : { inputTokens: usage.inputTokens }),
    ...(usage.outputTokens === undefined ? {} : { outputTokens: usage.outputTokens }),
  };
}
