/** The store contract. One suite (`src/store/contract.ts`) tests every implementation. */
import type { FeedbackReceipt, FeedbackRecord, NewFeedback } from '../trajectory/feedback.ts';
import type { Group, Reward, ScoredTrajectory, Split, Trajectory } from '../trajectory/records.ts';

export interface TrajectoryQuery {
  readonly project?: string;
  readonly name?: string;
  readonly scenario?: string;
  readonly groupId?: string;
  readonly policy?: string;
  readonly step?: number;
  readonly split?: Split;
  readonly threadId?: string;
  readonly messageId?: string;
  /** Id that the model server gave to an answer, for feedback that knows only that. */
  readonly responseId?: string;
  /** The user's own id of the run. */
  readonly runId?: string;
  /** Business keys, all of which must fit. */
  readonly keys?: Readonly<Record<string, string>>;
  readonly parentId?: string;
  /** Milliseconds since the epoch, by `endedAt`: from inclusive, until exclusive. */
  readonly from?: number;
  readonly until?: number;
  /** true: only those without any reward or feedback value; false: only those with one. */
  readonly unscored?: boolean;
  readonly order?: 'oldest-first' | 'newest-first';
  readonly limit?: number;
  /** Id of the last trajectory of the page before. */
  readonly after?: string;
}

/** How a step judged one of its trajectories, where that does not follow from the trajectory's own records. */
export interface Judgement {
  readonly groupId: string;
  readonly total: number;
}

/** One training step, written before its job starts and completed after its adapter is published. */
export interface TrainingStepRecord {
  readonly project: string;
  readonly name: string;
  readonly step: number;
  readonly jobId: string;
  readonly state: 'training' | 'published' | 'failed';
  /** The trajectories that the job trains on; each may be in one non-failed job only. */
  readonly trajectoryIds: readonly string[];
  /** By trajectory id: feedback can be revised, and a step that is redone must judge as it did. */
  readonly judgements?: Readonly<Record<string, Judgement>>;
  /** Where its weights lie: a folder, or a service's name. */
  readonly adapterLocation: string | null;
  readonly metrics: Readonly<Record<string, number>>;
  readonly createdAt: number;
}

/** One task of a run of rollouts, done: what a restart does not do again. */
export interface RolloutRecord {
  readonly runId: string;
  readonly taskId: string;
  /** The trajectory that counts for the task; tries before it are in the store, too, and count nowhere. */
  readonly trajectoryId: string;
  readonly tries: number;
  /** Why it can have no score; null where nothing stands against it. */
  readonly failure: string | null;
  /** Of all tries: what the budget counts. */
  readonly tokens: number;
  readonly usd: number;
  readonly finishedAt: number;
}

export interface StoreStats {
  readonly trajectories: number;
  readonly rewards: number;
  readonly bytes: number;
}

/** What became of a record handed to `append`. */
export type AppendResult = { readonly stored: number; readonly duplicates: number };

/**
 * A trajectory that has been checked and written down for the store that made it, and that holds nothing of the
 * trajectory any more: small in the heap, so that much of it can wait.
 */
export interface PreparedTrajectory {
  readonly id: string;
  /** What it takes in memory, roughly. */
  readonly bytes: number;
}

export interface Store {
  /** Where the data lies, for people. */
  readonly location: string;
  /** Durable once resolved. Idempotent by trajectory id; whole batch or nothing. */
  append(trajectories: readonly Trajectory[]): Promise<AppendResult>;
  /** The first half of `append`, in the caller's turn. Throws InvalidRecordError. */
  prepare(trajectory: Trajectory): PreparedTrajectory;
  /** The second half of `append`, of what this store has prepared; again, where it has failed. */
  appendPrepared(prepared: readonly PreparedTrajectory[]): Promise<AppendResult>;
  /** Durable once resolved. Idempotent by reward id. A reward may come before its trajectory. */
  reward(rewards: readonly Reward[]): Promise<void>;
  /**
   * Appends revisions to the log of feedback, each durable once resolved, and attaches them to the trajectories that
   * they are about: those that are here, and those that come later. Idempotent by id and content.
   */
  feedback(entries: readonly NewFeedback[]): Promise<readonly FeedbackReceipt[]>;
  /** All revisions of one piece of feedback, oldest first. */
  feedbackHistory(id: string): Promise<readonly FeedbackRecord[]>;
  get(id: string): Promise<ScoredTrajectory | undefined>;
  find(query: TrajectoryQuery): Promise<readonly ScoredTrajectory[]>;
  count(query: TrajectoryQuery): Promise<number>;
  /** Groups whose members match, newest first, each with all its matching members. */
  groups(query: TrajectoryQuery): Promise<readonly Group[]>;
  /** Records the intent to train; throws StoreError when one of the trajectories is in another non-failed job. */
  beginStep(step: Omit<TrainingStepRecord, 'state' | 'adapterLocation' | 'metrics'>): Promise<void>;
  endStep(options: {
    readonly project: string;
    readonly name: string;
    readonly step: number;
    readonly state: 'published' | 'failed';
    readonly adapterLocation: string | null;
    readonly metrics: Readonly<Record<string, number>>;
  }): Promise<void>;
  steps(project: string, name: string): Promise<readonly TrainingStepRecord[]>;
  /** Notes tasks as done. A task is done once: a second record of the same task is ignored. */
  recordRollouts(records: readonly RolloutRecord[]): Promise<void>;
  rollouts(runId: string): Promise<readonly RolloutRecord[]>;
  /** Forgets a run of rollouts that nothing will resume; its trajectories stay. */
  forgetRollouts(runId: string): Promise<void>;
  stats(): Promise<StoreStats>;
  delete(ids: readonly string[]): Promise<number>;
  /** Everything appended so far is durable when this resolves. */
  flush(): Promise<void>;
  close(): Promise<void>;
}
