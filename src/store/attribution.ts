/** Which trajectory a piece of feedback is about: keys, windows and ids, the same in every store. Pure. */
import { createHash } from 'node:crypto';
import type { FeedbackRecord, FeedbackTarget } from '../trajectory/feedback.ts';
import type { Trajectory } from '../trajectory/records.ts';

/** An id that is the same for the same target, name and author: sent twice, it lands once. */
export function feedbackId(options: {
  readonly project: string;
  readonly target: FeedbackTarget;
  readonly name: string;
  readonly by?: string | undefined;
}): string {
  const { project, target, name, by } = options;
  const text = JSON.stringify([project, sorted(target), sorted(target.keys ?? {}), name, by ?? null]);
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** A trajectory, whole or without its repetitions. */
type TrajectoryKeys = Pick<Trajectory, 'id' | 'messageId' | 'runId' | 'threadId' | 'keys'> & {
  readonly events: readonly (
    | {
        readonly kind: 'model-call';
        readonly id: string;
        readonly response: { readonly id?: string | undefined };
      }
    | { readonly kind: 'tool-result' }
  )[];
};

/** Everything that a trajectory can be found by, as `kind:value`. */
export function lookupsOf(trajectory: TrajectoryKeys): string[] {
  const { id, messageId, runId, threadId, keys = {} } = trajectory;
  const calls = trajectory.events.flatMap((event) => {
    if (event.kind !== 'model-call') return [];
    const call = [lookup('call', event.id)];
    return event.response.id === undefined ? call : [...call, lookup('response', event.response.id)];
  });
  return [
    ...new Set([
      lookup('trajectory', id),
      ...calls,
      ...(messageId === null ? [] : [lookup('message', messageId)]),
      ...(runId === undefined ? [] : [lookup('run', runId)]),
      ...(threadId === null ? [] : [lookup('thread', threadId)]),
      ...Object.entries(keys).map(([name, value]) => lookup(`key/${name}`, value)),
    ]),
  ];
}

/** Everything that a target asks for, the most telling first: a trajectory must have all of it. */
export function lookupsOfTarget(target: FeedbackTarget): string[] {
  const { trajectoryId, callId, responseId, messageId, runId, threadId, keys = {} } = target;
  return [
    ...(trajectoryId === undefined ? [] : [lookup('trajectory', trajectoryId)]),
    ...(callId === undefined ? [] : [lookup('call', callId)]),
    ...(responseId === undefined ? [] : [lookup('response', responseId)]),
    ...(messageId === undefined ? [] : [lookup('message', messageId)]),
    ...(runId === undefined ? [] : [lookup('run', runId)]),
    ...Object.entries(keys).map(([name, value]) => lookup(`key/${name}`, value)),
    ...(threadId === undefined ? [] : [lookup('thread', threadId)]),
  ];
}

/** Whether feedback that was given at `at` can be meant for a run of this time: begun before, and not too long over. */
export function isWithinWindow(
  feedback: Pick<FeedbackRecord, 'at' | 'windowMs'>,
  run: { readonly startedAt: number; readonly endedAt: number },
): boolean {
  const { at, windowMs } = feedback;
  return run.startedAt <= at && (windowMs === null || at - run.endedAt <= windowMs);
}

function lookup(kind: string, value: string): string {
  return `${kind}:${value}`;
}

function sorted(value: object): [string, unknown][] {
  return Object.entries(value)
    .filter(([key, one]) => one !== undefined && key !== 'keys')
    .sort(([a], [b]) => (a < b ? -1 : 1));
}
