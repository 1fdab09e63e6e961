/**
 * Trajectories to training rows, on exactly the ids that were sampled. Turns join into one sequence only where the
 * next prompt starts with everything before it; otherwise a new sequence begins. Nothing is tokenised again.
 */
import type { ModelCall, Trajectory, TrajectoryEvent } from './records.ts';

/** Per-token training data of one sequence. Arrays of equal length N = number of trained tokens, but `tokenIds`. */
export interface TrainingRow {
  readonly rowId: string;
  readonly groupId: string;
  /** The whole sequence, prompt and completions, S ids. */
  readonly tokenIds: readonly number[];
  /** Indices into `tokenIds` of the sampled tokens, ascending, each in [1, S). */
  readonly positions: readonly number[];
  readonly logprobs: readonly (number | null)[];
  readonly advantages: readonly number[];
  readonly weights: readonly number[];
}

export interface RowOptions {
  readonly groupId: string;
  /** The advantage of the whole trajectory, given to each of its sampled tokens. */
  readonly advantage: number;
  /** By call id, what its tokens get beside it. */
  readonly callAdvantages?: ReadonlyMap<string, number>;
  /** Longer sequences cannot be trained by this backend and are left out, counted. */
  readonly maxTokens: number;
}

export interface TrajectoryRows {
  readonly rows: readonly TrainingRow[];
  /** Calls left out, by reason. */
  readonly skipped: Readonly<Record<string, number>>;
  readonly trainedTokens: number;
}

interface Sequence {
  readonly ids: number[];
  readonly positions: number[];
  readonly logprobs: (number | null)[];
  readonly advantages: number[];
}

/** Rows of one trajectory. Each sampled token is trained once. */
export function trajectoryRows(trajectory: Trajectory, options: RowOptions): TrajectoryRows {
  const skipped: Record<string, number> = {};
  const skip = (reason: string): void => {
    skipped[reason] = (skipped[reason] ?? 0) + 1;
  };
  const sequences: Sequence[] = [];
  for (const call of trajectory.events) {
    if (call.kind !== 'model-call') continue;
    if (!call.trainability.trainable) skip(call.trainability.reason);
    else if (call.served.policy !== trajectory.policy) skip('other-policy');
    else if (call.tokens === null) skip('no-token-ids');
    else if (call.tokens.promptIds.length + call.tokens.completionIds.length > options.maxTokens)
      skip('too-long');
    else join(sequences, call.tokens, options.advantage + (options.callAdvantages?.get(call.id) ?? 0));
  }
  const rows = sequences.map((sequence, index) => toRow(trajectory, sequence, index, options));
  return { rows, skipped, trainedTokens: rows.reduce((sum, row) => sum + row.positions.length, 0) };
}

/** Appends the call to the latest sequence that its prompt continues, or begins a new one. */
function join(sequences: Sequence[], tokens: NonNullable<ModelCall['tokens']>, advantage: number): void {
  const open = sequences.findLast((sequence) => startsWith(tokens.promptIds, sequence.ids));
  const sequence = open ?? { ids: [], positions: [], logprobs: [], advantages: [] };
  if (open === undefined) sequences.push(sequence);
  for (let at = sequence.ids.length; at < tokens.promptIds.length; at += 1) {
    sequence.ids.push(tokens.promptIds[at] ?? 0);
  }
  tokens.completionIds.forEach((id, index) => {
    // A sequence's very first token has no prediction to train.
    if (sequence.ids.length > 0) {
      sequence.positions.push(sequence.ids.length);
      sequence.logprobs.push(tokens.logprobs[index] ?? null);
      sequence.advantages.push(advantage);
    }
    sequence.ids.push(id);
  });
}

function startsWith(ids: readonly number[], prefix: readonly number[]): boolean {
  return prefix.length <= ids.length && prefix.every((id, index) => ids[index] === id);
}

function toRow(trajectory: Trajectory, sequence: Sequence, index: number, options: RowOptions): TrainingRow {
  const count = sequence.positions.length;
  return {
    rowId: `${trajectory.id}.${String(index)}`,
    groupId: options.groupId,
    tokenIds: sequence.ids,
    positions: sequence.positions,
    logprobs: sequence.logprobs,
    advantages: sequence.advantages,
    weights: new Array<number>(count).fill(1),
  };
}

/**
 * How many trained tokens of `rows` were not sampled just there: each is looked up in the recorded calls, by the ids
 * that stand before it. 0, or something is broken between the wire and the row.
 */
export function countMismatchedTokens(rows: readonly TrainingRow[], recorded: readonly Trajectory[]): number {
  const byId = new Map(recorded.map((trajectory) => [String(trajectory.id), trajectory]));
  let mismatched = 0;
  for (const row of rows) {
    const trajectory = byId.get(row.rowId.slice(0, row.rowId.lastIndexOf('.')));
    const sampled = new Set(trajectory?.events.flatMap((event) => sampledPositions(event, row.tokenIds)));
    mismatched += row.positions.filter((position) => !sampled.has(position)).length;
  }
  return mismatched;
}

/** The positions of `ids` at which this call sampled the very id that stands there, after the very same prompt. */
function sampledPositions(event: TrajectoryEvent, ids: readonly number[]): number[] {
  if (event.kind !== 'model-call' || event.tokens === null || !startsWith(ids, event.tokens.promptIds))
    return [];
  const start = event.tokens.promptIds.length;
  return event.tokens.completionIds.flatMap((id, index) =>
    ids[start + index] === id ? [start + index] : [],
  );
}
