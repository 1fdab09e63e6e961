/**
 * One agent run on its way to a trajectory. Append-only; takes references while the agent works and builds records
 * once, when the run is finished. Nothing in here throws into the host.
 */
import type { ModelCallId, TrajectoryId } from '../trajectory/ids.ts';
import { recordVersion, type Trajectory, type TrajectoryEvent } from '../trajectory/records.ts';
import { CallDraft, type DraftRun } from './call-draft.ts';
import type { CallStart, FoundToolResult, OpenCall, Run, RunOptions } from './capture.ts';
import { modelCallOf, type RecordSettings } from './model-call-record.ts';
import type { Failure } from './retries.ts';
import type { Route } from './route.ts';
import { withRun } from './scope.ts';

/** What all runs of one recorder have in common. */
export interface RunSettings extends RecordSettings {
  readonly project: string;
  readonly name: string;
  readonly now: () => number;
  /** Given the milliseconds since the epoch at which the run began. */
  readonly newId: (startedAt: number) => string;
  /** Comes once for each run, with the finished trajectory. */
  readonly onFinished: (run: ActiveRun, trajectory: Trajectory) => void;
}

export interface RunParts {
  readonly settings: RunSettings;
  readonly route: Route;
  readonly options: RunOptions;
  /** The run inside which this one begins. */
  readonly parent: Pick<ActiveRun, 'id' | 'lastCall'> | undefined;
}

/** Decides when a run is over that its owner does not finish. */
export interface RunWatcher {
  /** A call came to its end; `openCalls` of the run are still in flight. */
  idle(): void;
  /** The run is finished. */
  finished(): void;
}

/** The result of a tool, by reference. */
interface ToolDraft {
  readonly result: FoundToolResult;
  readonly at: number;
}

type Draft = CallDraft | ToolDraft;

export class ActiveRun implements Run, DraftRun {
  readonly route: Route;
  readonly rawArguments = new Map<string, string>();
  /** Calls that failed and that nothing has tried again so far: see `retries.ts`. */
  readonly failures: Failure[] = [];
  readonly parentId: string | undefined;
  readonly #parentCallId: string | undefined;
  readonly #settings: RunSettings;
  readonly #options: RunOptions;
  readonly #drafts: Draft[] = [];
  readonly #metrics: Record<string, number> = {};
  readonly #toolResults = new Set<string>();
  readonly #startedAt: number;
  #watcher: RunWatcher | undefined;
  #open = 0;
  #lastOpened: CallDraft | undefined;
  #finished: Trajectory | undefined;
  #id: string | undefined;

  // Field by field: copying objects, or parts of them, is slow, and this is inside the user's call.
  constructor(parts: RunParts) {
    const { settings, parent } = parts;
    this.#settings = settings;
    this.#options = parts.options;
    this.route = parts.route;
    // The ids alone: a chain of runs, each begun inside the one before, must not stay in memory.
    this.parentId = parent?.id;
    this.#parentCallId = parent?.lastCall?.id;
    this.#startedAt = settings.now();
  }

  /** Made when somebody asks for it, nearly always after the user's call: random digits take time. */
  get id(): string {
    return (this.#id ??= this.#settings.newId(this.#startedAt));
  }

  /** Hands the decision when the run is over to `watcher`. */
  watchedBy(watcher: RunWatcher): void {
    this.#watcher = watcher;
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

  /** The call that was started last: the parent of runs that its tools start. */
  get lastCall(): OpenCall | undefined {
    return this.#lastOpened;
  }

  /** When the run, or its latest call, began or ended, milliseconds since the epoch. */
  get lastActiveAt(): number {
    return this.#lastOpened?.endedAt ?? this.#lastOpened?.startedAt ?? this.#startedAt;
  }

  /** Whether calls were made, all have ended, and the last answer asks for no tool, after which another would come. */
  get looksComplete(): boolean {
    if (this.#open > 0 || this.#lastOpened === undefined) return false;
    const reason = this.#lastOpened.known.finishReason;
    return reason !== 'tool-calls' && reason !== 'tool_calls';
  }

  /** Runs `start` so that the calls which it makes belong to this run. */
  scope<T>(start: () => T): T {
    return withRun(this, start);
  }

  startCall(start: CallStart): OpenCall {
    const draft = new CallDraft(this.#drafts.length, start, this);
    this.#drafts.push(draft);
    this.#open += 1;
    this.#lastOpened = draft;
    return draft;
  }

  /** The time, milliseconds since the epoch. */
  now(): number {
    return this.#settings.now();
  }

  /** For calls alone: one of them has ended. */
  callEnded(): void {
    this.#open -= 1;
    this.#watcher?.idle();
  }

  toolResult(result: FoundToolResult): void {
    if (this.#isNew(result)) this.#drafts.push({ result, at: this.now() });
  }

  /** The same result comes back with every later prompt of the run. */
  #isNew({ toolCallId }: FoundToolResult): boolean {
    if (this.#toolResults.has(toolCallId)) return false;
    this.#toolResults.add(toolCallId);
    return true;
  }

  /** Remembers tool-call arguments as the model wrote them, so that the next prompt can have them verbatim. */
  keepRawArguments(calls: Iterable<{ readonly id: string; readonly arguments: string }>): void {
    for (const call of calls) this.rawArguments.set(call.id, call.arguments);
  }

  /** Whether a tool that the model has called, or the one with this id, has given no result so far. */
  awaitsTool(toolCallId?: string): boolean {
    if (toolCallId !== undefined)
      return this.rawArguments.has(toolCallId) && !this.#toolResults.has(toolCallId);
    for (const id of this.rawArguments.keys()) if (!this.#toolResults.has(id)) return true;
    return false;
  }

  /** Runs a part of the recording that may fail; a throw is counted and gives `otherwise`. */
  guard<T>(place: string, work: () => T, otherwise: T): T {
    return this.#settings.faults.guard(place, work, otherwise);
  }

  metric(name: string, value: number): void {
    this.#metrics[name] = value;
  }

  finish(outcome: Trajectory['outcome'] = { status: 'finished' }): Trajectory {
    if (this.#finished !== undefined) return this.#finished;
    const options = this.#options;
    const { project, name, onFinished } = this.#settings;
    const { route, parentId } = this;
    const parentCallId = this.#parentCallId;
    const events: TrajectoryEvent[] = [];
    for (const draft of this.#drafts) {
      if (!(draft instanceof CallDraft)) {
        events.push({ kind: 'tool-result', at: draft.at, ...draft.result, index: events.length });
        continue;
      }
      for (const result of this.#toolResultsOf(draft))
        events.push({ kind: 'tool-result', at: draft.startedAt, ...result, index: events.length });
      events.push(modelCallOf(draft, events.length, this.#settings));
    }
    const trajectory: Trajectory = {
      recordVersion,
      id: this.id as TrajectoryId,
      project,
      name,
      ...(parentId === undefined ? {} : { parentId: parentId as TrajectoryId }),
      ...(parentCallId === undefined ? {} : { parentCallId: parentCallId as ModelCallId }),
      scenario: options.scenario ?? null,
      groupId: options.groupId ?? null,
      split: options.split ?? 'production',
      threadId: options.threadId ?? null,
      messageId: options.messageId ?? null,
      ...(options.runId === undefined ? {} : { runId: options.runId }),
      ...(options.keys === undefined ? {} : { keys: { ...options.keys } }),
      policy: this.policy,
      step: route.kind === 'policy' ? route.step : null,
      outcome,
      events,
      metadata: (options.metadata ?? {}) as Trajectory['metadata'],
      metrics: this.#metrics,
      startedAt: this.#startedAt,
      endedAt: this.now(),
    };
    this.#finished = trajectory;
    // Whatever was started inside the run holds it in memory for as long as it lives: sockets, timers.
    this.#drafts.length = 0;
    this.rawArguments.clear();
    this.#settings.faults.guard(
      'handing over a trajectory',
      () => {
        this.#watcher?.finished();
        onFinished(this, trajectory);
      },
      undefined,
    );
    return trajectory;
  }

  /** Those that no call before had. */
  #toolResultsOf({ start }: CallDraft): FoundToolResult[] {
    const { toolResults } = start;
    if (toolResults === undefined) return [];
    return this.guard('recording tool results', toolResults, []).filter((result) => this.#isNew(result));
  }
}
