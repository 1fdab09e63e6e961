/**
 * The capture contract: what adapters see of the recorder, and what the composition root gives to it.
 * Nothing here waits for I/O and nothing throws into the host.
 */
import type {
  CallOutcome,
  Message,
  ModelCall,
  Reward,
  Split,
  ToolResult,
  Trajectory,
  Usage,
} from '../trajectory/records.ts';
import type { Prompt } from './retries.ts';
import type { Answerer } from './route.ts';

/**
 * What an adapter reports of one model call. Values are taken by reference and must not be changed afterwards. Its methods
 * are called when the record is built, off the hot path; what throws then is left out.
 */
export interface CallStart {
  readonly adapter: string;
  readonly specification?: string | undefined;
  readonly requestedModel: string;
  readonly provider?: string | undefined;
  readonly answerer: Answerer;
  /** The messages as the framework has them: the same ones again, after a failure, are a retry. */
  readonly prompt: Prompt;
  /** The messages in OpenAI's form. */
  messages(): readonly Message[];
  tools(): readonly unknown[];
  parameters(): Readonly<Record<string, unknown>>;
  /** The results of tools that stand in the prompt and that no call before had. */
  toolResults?(): readonly FoundToolResult[];
  readonly streamed: boolean;
}

/** A tool result as an adapter finds it. */
export type FoundToolResult = Omit<ToolResult, 'kind' | 'index' | 'at'>;

/**
 * What came back; every field that is known. `message` is built lazily as in CallStart. Fields may be undefined, because
 * leaving them out costs objects inside the user's call.
 */
export interface CallAnswer {
  readonly message?: () => Message | null;
  readonly responseId?: string | undefined;
  readonly respondedModel?: string | undefined;
  readonly finishReason?: string | undefined;
  readonly usage?: { readonly [K in keyof Usage]: Usage[K] | undefined };
  readonly tokens?: {
    readonly promptIds: readonly number[];
    readonly completionIds: readonly number[];
    readonly logprobs: readonly (number | null)[];
  };
}

/**
 * A call in flight. `end` counts once; later calls are ignored. Answers are read when the record is built, off the hot
 * path, and may throw: then the call is kept without one.
 */
export interface OpenCall {
  readonly id: string;
  firstToken(): void;
  /** Where to read what a partial record holds if nothing more comes (streams). Once is enough. */
  partial(read: () => CallAnswer): void;
  end(outcome: CallOutcome, read?: () => CallAnswer): void;
}

export interface RunOptions {
  readonly scenario?: string;
  readonly groupId?: string;
  readonly split?: Split;
  readonly threadId?: string;
  readonly messageId?: string;
  /** Your own id of this run: a LangGraph run, a trace. */
  readonly runId?: string;
  /** What your business calls this run, for feedback that comes later: `{ order: 'A123' }`. */
  readonly keys?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** What a rule sees of a call, to say whether it is a side call: one that is no part of the task, as a title is. */
export type SideCallFacts = Pick<ModelCall, 'adapter' | 'served' | 'request'>;
export type SideCallRule = (call: SideCallFacts) => boolean;

/** The current trajectory. */
export interface Run {
  readonly id: string;
  readonly policy: string | null;
  startCall(start: CallStart): OpenCall;
  toolResult(result: FoundToolResult): void;
  /** Raw tool-call arguments by tool call id, as sampled: the policy model replays them verbatim. */
  readonly rawArguments: Map<string, string>;
  metric(name: string, value: number): void;
  /** Closes the run: calls still open become partial records. Idempotent. Gives the finished trajectory. */
  finish(outcome?: Trajectory['outcome']): Trajectory;
}

/** Where finished trajectories go. Returns at once; drops are counted by reason. */
export interface TrajectorySink {
  accept(trajectory: Trajectory): void;
  reward(reward: Reward): void;
  flush(options?: { readonly timeoutMs?: number }): Promise<{ readonly complete: boolean }>;
  counters(): CaptureCounters;
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

export interface CaptureCounters {
  readonly accepted: number;
  readonly stored: number;
  /** By reason: 'queue-full', 'store-failed', 'invalid', 'closed'. Whole trajectories only. */
  readonly dropped: Readonly<Record<string, number>>;
  readonly queued: number;
  readonly queuedBytes: number;
  /** Faults of ours that were swallowed to spare the host, by place. */
  readonly faults: Readonly<Record<string, number>>;
}
