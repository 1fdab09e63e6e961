/**
 * The numbers of a trajectory's tokens apart from its text, and back, without loss. Written as digits, log-probabilities
 * take a third of the time of writing a trajectory down and two and a half times their bytes.
 */
import { z } from 'zod';
import { InvalidRecordError } from '../errors.ts';
import { tokens, toolResult } from '../trajectory/records.ts';
import { compactCall, compactTrajectory, type CompactTrajectory } from './encoding.ts';

/** How many of the numbers that lie apart come here. */
const count = z.int().nonnegative();
const { promptIds, completionIds, logprobs } = tokens.shape;
const storedCall = compactCall.extend({
  tokens: tokens
    .extend({
      promptIds: z.object({ kept: count, added: z.union([promptIds, count]) }),
      completionIds: z.union([completionIds, count]),
      logprobs: z.union([logprobs, count]),
    })
    .nullable(),
});

/** What stands in the text, for validation where it is read. Older records have their numbers in it. */
export const storedTrajectory = compactTrajectory.extend({
  events: z.array(z.discriminatedUnion('kind', [storedCall, toolResult])),
});
export type StoredTrajectory = z.infer<typeof storedTrajectory>;
type Event = CompactTrajectory['events'][number];

/** Lists in the order in which the events have them. */
export interface Numbers {
  readonly logprobs: readonly (readonly number[])[];
  readonly ids: readonly (readonly number[])[];
}

/** What has been taken out of a trajectory; what it does not change, it shares with it. */
export interface Detached {
  readonly record: StoredTrajectory;
  readonly numbers: Numbers;
}

/** Of a valid trajectory. Lists that do not fit, such as those with a log-probability missing, stay in the text. */
export function detachNumbers(from: CompactTrajectory): Detached {
  const taken = { logprobs: [] as (readonly number[])[], ids: [] as (readonly number[])[] };
  const ids = (list: number[]): number[] | number => {
    if (!list.every((id) => id <= largestId)) return list;
    taken.ids.push(list);
    return list.length;
  };
  const events = from.events.map((event): StoredTrajectory['events'][number] => {
    if (event.kind !== 'model-call' || event.tokens === null) return event;
    const sampled = event.tokens;
    const { kept, added } = sampled.promptIds;
    let known: typeof sampled.logprobs | number = sampled.logprobs;
    if (isComplete(known)) {
      taken.logprobs.push(known);
      known = known.length;
    }
    return {
      ...event,
      tokens: {
        ...sampled,
        promptIds: { kept, added: ids(added) },
        completionIds: ids(sampled.completionIds),
        logprobs: known,
      },
    };
  });
  return { record: { ...from, events }, numbers: taken };
}

/** What an unsigned number of four bytes holds. */
const largestId = 2 ** 32 - 1;

function isComplete(list: readonly (number | null)[]): list is number[] {
  return !list.includes(null);
}

/** Bytes that `writeNumbers` writes. */
export function sizeOf({ logprobs: probabilities, ids }: Numbers): number {
  return (
    lengthOf(probabilities) * Float64Array.BYTES_PER_ELEMENT + lengthOf(ids) * Uint32Array.BYTES_PER_ELEMENT
  );
}

/**
 * All log-probabilities, eight bytes each, then all ids, four bytes each; little-endian, as all machines are that Node
 * runs on, but for IBM's mainframes. `at`: a multiple of eight.
 */
export function writeNumbers(
  { logprobs: probabilities, ids }: Numbers,
  buffer: ArrayBufferLike,
  at: number,
): void {
  const doubles = new Float64Array(buffer, at, lengthOf(probabilities));
  fill(doubles, probabilities);
  fill(new Uint32Array(buffer, at + doubles.byteLength, lengthOf(ids)), ids);
}

/** The inverse of `detachNumbers`, from what `writeNumbers` has written. Throws InvalidRecordError where the two do not fit. */
export function attachNumbers(record: StoredTrajectory, bytes: Uint8Array): CompactTrajectory {
  const rest = { logprobs: 0, ids: probabilitiesIn(record) * Float64Array.BYTES_PER_ELEMENT };
  // A copy: what a database hands out begins anywhere, and these views cannot.
  const buffer = new Uint8Array(bytes).buffer;
  const next = (View: typeof Float64Array | typeof Uint32Array, part: keyof typeof rest, length: number) => {
    const end = rest[part] + length * View.BYTES_PER_ELEMENT;
    if (end > buffer.byteLength) throw tooFew(bytes, end);
    const found = [...new View(buffer, rest[part], length)];
    rest[part] = end;
    return found;
  };
  const ids = (list: number[] | number): number[] =>
    typeof list === 'number' ? next(Uint32Array, 'ids', list) : list;
  const events = record.events.map((event): Event => {
    if (event.kind !== 'model-call' || event.tokens === null) return event as Event;
    const { promptIds: prompt, completionIds: completion, logprobs: known, ...others } = event.tokens;
    return {
      ...event,
      tokens: {
        promptIds: { kept: prompt.kept, added: ids(prompt.added) },
        completionIds: ids(completion),
        logprobs: typeof known === 'number' ? next(Float64Array, 'logprobs', known) : known,
        ...others,
      },
    };
  });
  return { ...record, events };
}

function probabilitiesIn({ events }: StoredTrajectory): number {
  let total = 0;
  for (const event of events) {
    if (event.kind !== 'model-call' || typeof event.tokens?.logprobs !== 'number') continue;
    total += event.tokens.logprobs;
  }
  return total;
}

function tooFew(bytes: Uint8Array, wanted: number): InvalidRecordError {
  return new InvalidRecordError({
    field: 'tokens',
    received: `${String(bytes.length)} bytes of numbers`,
    expected: `at least ${String(wanted)}`,
    fix: 'The store is damaged at this record: restore it from a backup, or delete the record.',
  });
}

function lengthOf(lists: readonly (readonly number[])[]): number {
  let length = 0;
  for (const list of lists) length += list.length;
  return length;
}

function fill(view: Float64Array | Uint32Array, lists: readonly (readonly number[])[]): void {
  let at = 0;
  for (const list of lists) {
    view.set(list, at);
    at += list.length;
  }
}
