/** A trajectory as it is sent to the store's thread: checked, without repetitions, and written as text already. */
import { parseVersioned } from '../../trajectory/parse.ts';
import { predicateOf } from '../../trajectory/predicate.ts';
import type { Trajectory } from '../../trajectory/records.ts';
import { ownLookups } from '../attribution.ts';
import { compactTrajectory, toCompact, type CompactTrajectory } from '../encoding.ts';
import type { PreparedTrajectory } from '../store.ts';
import type { BodyPlace, BodyWriter } from './bodies.ts';

/** As plain data: classes do not survive the way between threads. */
export interface SentTrajectory {
  /** In the order of the insert statement in `appender.ts`. */
  readonly columns: readonly (string | number | null)[];
  readonly responseIds: readonly string[];
  /** What the user calls it, beside what the columns say. */
  readonly lookups: readonly string[];
  readonly times: { readonly startedAt: number; readonly endedAt: number };
  /** JSON of the compact form. */
  readonly body: BodyPlace;
}

/** Bytes of the columns, lookups and the objects themselves. */
const overhead = 1024;

export class EncodedTrajectory implements PreparedTrajectory {
  readonly id: string;
  readonly bytes: number;
  readonly sent: SentTrajectory;

  constructor(id: string, sent: SentTrajectory) {
    this.id = id;
    this.bytes = overhead + sent.body.until - sent.body.from;
    this.sent = sent;
  }
}

const fitsSchema = predicateOf(compactTrajectory);

/**
 * Encodes on the caller's thread: writing the text once costs as much as copying the objects to another thread, and
 * spares that thread reading them and writing them again. Throws InvalidRecordError.
 */
export function encode(trajectory: Trajectory, bodies: BodyWriter): EncodedTrajectory {
  const compact = toCompact(trajectory);
  if (!fitsSchema(compact)) parseVersioned(compactTrajectory, compact);
  const { startedAt, endedAt } = compact;
  return new EncodedTrajectory(compact.id, {
    columns: columnsOf(compact),
    responseIds: responseIds(compact),
    lookups: ownLookups(compact),
    times: { startedAt, endedAt },
    body: bodies.add(JSON.stringify(compact)),
  });
}

function columnsOf(one: CompactTrajectory): SentTrajectory['columns'] {
  const { id, project, name, scenario, groupId, policy, step, split, threadId, messageId } = one;
  const parent = one.parentId ?? null;
  const times = [one.startedAt, one.endedAt];
  return [id, project, name, scenario, groupId, policy, step, split, threadId, messageId, parent, ...times];
}

function responseIds(one: CompactTrajectory): string[] {
  const ids = one.events.flatMap((event) =>
    event.kind === 'model-call' && event.response.id ? [event.response.id] : [],
  );
  return [...new Set(ids)];
}
