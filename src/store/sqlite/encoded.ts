/** A trajectory as it is sent to the store's thread: checked, without repetitions, and written down already. */
import { parseVersioned } from '../../trajectory/parse.ts';
import { predicateOf } from '../../trajectory/predicate.ts';
import type { Trajectory } from '../../trajectory/records.ts';
import { namesOf } from '../attribution.ts';
import { compactTrajectory, toCompact, type CompactTrajectory } from '../encoding.ts';
import { detachNumbers } from '../numbers.ts';
import type { PreparedTrajectory } from '../store.ts';
import type { RecordPlace, RecordWriter } from './record-bytes.ts';

/** What the store's thread reads of a trajectory; the rest it stores as it is. */
export interface TrajectoryHead {
  /** In the order of the insert statement in `appender.ts`. */
  readonly columns: readonly (string | number | null)[];
  /** All that it can be found by as `kind:value`, but for its own id. */
  readonly lookups: readonly string[];
}

/** Bytes of the objects that are left of it in the heap. */
const overhead = 256;

export class EncodedTrajectory implements PreparedTrajectory {
  readonly id: string;
  readonly bytes: number;
  readonly place: RecordPlace;

  constructor(id: string, place: RecordPlace) {
    this.id = id;
    this.bytes = overhead + place.until - place.from;
    this.place = place;
  }
}

const fitsSchema = predicateOf(compactTrajectory);

/**
 * Encodes on the caller's thread: writing the text once costs as much as copying the objects to another thread, and
 * spares that thread reading them and writing them again. Throws InvalidRecordError.
 */
export function encode(trajectory: Trajectory, writer: RecordWriter): EncodedTrajectory {
  const compact = toCompact(trajectory);
  if (!fitsSchema(compact)) parseVersioned(compactTrajectory, compact);
  const { record, numbers } = detachNumbers(compact);
  const head = JSON.stringify(headOf(compact));
  return new EncodedTrajectory(compact.id, writer.add({ numbers, head, body: JSON.stringify(record) }));
}

function headOf(one: CompactTrajectory): TrajectoryHead {
  const { id, project, name, scenario, groupId, policy, step, split, threadId, messageId } = one;
  const parent = one.parentId ?? null;
  const times = [one.startedAt, one.endedAt];
  return {
    columns: [
      id,
      project,
      name,
      scenario,
      groupId,
      policy,
      step,
      split,
      threadId,
      messageId,
      parent,
      ...times,
    ],
    lookups: namesOf(one),
  };
}
