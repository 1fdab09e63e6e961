/**
 * One agent run on its way to a trajectory. Append-only; takes references while the agent works and builds records
 * once, when the run is finished. Nothing in here throws into the host.
 */
import type { ModelCallId, TrajectoryId } from '../trajectory/ids.ts';
import { recordVersion, type Trajectory, type TrajectoryEvent } from '../trajectory/records.ts';
import type { CallStart, FoundToolResult, OpenCall, Run, RunOptions } from './capture.ts';
import { modelCallOf, type RecordSettings } from './model-call-record.ts';
import { RecordedCall, type CallingRun } from './recorded-call.ts';
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

type Draft = RecordedCall | ToolDraft;

export class ActiveRun implements Run, CallingRun {
  readonly route: Route;
  /** Calls that failed and that nothing has tried again so far: see `retries.ts`. */
  readonly failures: Failure[] = [];
  readonly parentId: string | undefined;
  readonly #parentCallId: string | undefined;
  readonly #settings: RunSettings;
  readonly #options: RunOptions;
  readonly #drafts: Draft[] = [];
  #metrics: Record<string, number> | undefined;
  #rawArguments: Map<string, string> | undefined;
  #toolResults: Set<string> | undefined;
  readonly #startedAt: number;
  #watcher: RunWatcher | undefined;
  #open = 0;
  #lastOpened: RecordedCall | undefined;
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

  startCall(start: CallStart): RecordedCall {
    const draft = new RecordedCall(this.#drafts.length, start, this);
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
    const known = (this.#toolResults ??= new Set());
    if (known.has(toolCallId)) return false;
    known.add(toolCallId);
    return true;
  }

  get rawArguments(): Map<string, string> {
    return (this.#rawArguments ??= new Map());
  }

  /** Remembers tool-call arguments as the model wrote them, so that the next prompt can have them verbatim. */
  keepRawArguments(calls: Iterable<{ readonly id: string; readonly arguments: string }>): void {
    for (const call of calls) this.rawArguments.set(call.id, call.arguments);
  }

  /** Whether a tool that the model has called, or the one with this id, has given no result so far. */
  awaitsTool(toolCallId?: string): boolean {
    if (toolCallId !== undefined)
      return this.rawArguments.has(toolCallId) && this.#toolResults?.has(toolCallId) !== true;
    for (const id of this.rawArguments.keys()) if (this.#toolResults?.has(id) !== true) return true;
    return false;
  }

  /** Runs a part of the recording that may fail; a throw is counted and gives `otherwise`. */
  guard<T>(place: string, work: () => T, otherwise: T): T {
    return this.#settings.faults.guard(place, work, otherwise);
  }

  metric(name: string, value: number): void {
    this.#metrics ??= {};
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
      if (!(draft instanceof RecordedCall)) {
        events.push({ kind: 'tool-result', at: draft.at, ...draft.result, index: events.length });
        continue;
      }
      for (const result of this.#toolResultsOf(draft))
        events.push({ kind: 'tool-result', at: draft.startedAt, ...result, index: events.length });
      const index = events.length;
      const { propensity } = route;
      const call = this.guard(
        'recording a call',
        () => modelCallOf({ call: draft, index, propensity, settings: this.#settings }),
        undefined,
      );
      if (call !== undefined) events.push(call);
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
      metrics: this.#metrics ?? {},
      startedAt: this.#startedAt,
      endedAt: this.now(),
    };
    this.#finished = trajectory;
    // Whatever was started inside the run holds it in memory for as long as it lives: sockets, timers.
    this.#drafts.length = 0;
    this.#rawArguments?.clear();
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
  #toolResultsOf({ start }: RecordedCall): FoundToolResult[] {
    const found = this.guard('recording tool results', () => start.toolResults?.() ?? [], []);
    return found.filter((result) => this.#isNew(result));
  }
}
