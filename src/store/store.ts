/** The store contract. One suite (`src/store/contract.ts`) tests every implementation. */
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
  readonly parentId?: string;
  /** Milliseconds since the epoch, by `endedAt`: from inclusive, until exclusive. */
  readonly from?: number;
  readonly until?: number;
  /** true: only those without any reward; false: only those with one. */
  readonly unscored?: boolean;
  readonly order?: 'oldest-first' | 'newest-first';
  readonly limit?: number;
  /** Id of the last trajectory of the page before. */
  readonly after?: string;
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
  /** Where its weights lie: a folder, or a service's name. */
  readonly adapterLocation: string | null;
  readonly metrics: Readonly<Record<string, number>>;
  readonly createdAt: number;
}

export interface StoreStats {
  readonly trajectories: number;
  readonly rewards: number;
  readonly bytes: number;
}

/** What became of a record handed to `append`. */
export type AppendResult = { readonly stored: number; readonly duplicates: number };

export interface Store {
  /** Where the data lies, for people. */
  readonly location: string;
  /** Durable once resolved. Idempotent by trajectory id; whole batch or nothing. */
  append(trajectories: readonly Trajectory[]): Promise<AppendResult>;
  /** Durable once resolved. Idempotent by reward id. A reward may come before its trajectory. */
  reward(rewards: readonly Reward[]): Promise<void>;
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
  stats(): Promise<StoreStats>;
  delete(ids: readonly string[]): Promise<number>;
  /** Everything appended so far is durable when this resolves. */
  flush(): Promise<void>;
  close(): Promise<void>;
}
