/** A trajectory as it is sent to the store's thread: checked, without repetitions, and written down already. */
import { parseTrajectory } from '../../trajectory/parse.ts';
import { predicateOf } from '../../trajectory/predicate.ts';
import type { Trajectory } from '../../trajectory/records.ts';
import { namesOf } from '../attribution.ts';
import { storedTrajectory } from '../encoding/stored.ts';
import { toStored, type Stored } from '../encoding/to-stored.ts';
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

const fitsSchema = predicateOf(storedTrajectory);

/**
 * Encodes on the caller's thread: writing the text once costs as much as copying the objects to another thread, and
 * spares that thread reading them and writing them again. Throws InvalidRecordError.
 */
export function encode(trajectory: Trajectory, writer: RecordWriter): EncodedTrajectory {
  const stored = storedWhereValid(trajectory);
  if (stored !== undefined) return write(trajectory, stored, writer);
  // Parsed for its error, which names the field as the caller knows it, and for its defaults.
  const parsed = parseTrajectory(trajectory);
  return write(parsed, toStored(parsed), writer);
}

function storedWhereValid(trajectory: Trajectory): Stored | undefined {
  try {
    const stored = toStored(trajectory);
    return fitsSchema(stored.record) ? stored : undefined;
  } catch {
    // Of a shape that cannot be walked through. Nothing is hidden: it is parsed, and walked through again.
    return undefined;
  }
}

function write(trajectory: Trajectory, stored: Stored, writer: RecordWriter): EncodedTrajectory {
  const { record, numbers, texts } = stored;
  const head = JSON.stringify(headOf(trajectory));
  const body = JSON.stringify(record);
  return new EncodedTrajectory(trajectory.id, writer.add({ numbers, head, body, texts }));
}

function headOf(one: Trajectory): TrajectoryHead {
  const { id, project, name, scenario, groupId, policy, step, split, threadId, messageId } = one;
  const { parentId = null, startedAt, endedAt } = one;
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
      parentId,
      startedAt,
      endedAt,
    ],
    lookups: namesOf(one),
  };
}
