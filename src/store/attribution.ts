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

/** What the user calls a run. */
function ownLookups({ runId, keys = {} }: Pick<Trajectory, 'runId' | 'keys'>): string[] {
  return [
    ...(runId === undefined ? [] : [lookup('run', runId)]),
    ...Object.entries(keys).map(([name, value]) => lookup(`key/${name}`, value)),
  ];
}

/** Everything that feedback can find a trajectory by, but for its own id, as `kind:value`. */
export function namesOf(
  one: Pick<Trajectory, 'messageId' | 'threadId' | 'runId' | 'keys'> & {
    readonly events: readonly (
      | { readonly kind: 'tool-result' }
      | { readonly kind: 'model-call'; readonly response: { readonly id?: string | undefined } }
    )[];
  },
): string[] {
  const { messageId, threadId } = one;
  const responseIds = new Set<string>();
  for (const event of one.events) {
    if (event.kind === 'model-call' && event.response.id) responseIds.add(event.response.id);
  }
  return [
    ...[...responseIds].map((id) => lookup('response', id)),
    ...(messageId === null ? [] : [lookup('message', messageId)]),
    ...(threadId === null ? [] : [lookup('thread', threadId)]),
    ...ownLookups(one),
  ];
}

/** Of a trajectory's own id. */
export function idLookup(id: string): string {
  return lookup('trajectory', id);
}

/** Everything that a target asks for, the most telling first: a trajectory must have all of it. */
export function lookupsOfTarget(target: FeedbackTarget): string[] {
  const { trajectoryId, callId, responseId, messageId, threadId } = target;
  return [
    ...(trajectoryId === undefined ? [] : [idLookup(trajectoryId)]),
    // Ids of calls begin with that of their trajectory: no index is needed for them.
    ...(callId === undefined ? [] : [idLookup(callId.replace(/\.\d+$/, ''))]),
    ...(responseId === undefined ? [] : [lookup('response', responseId)]),
    ...(messageId === undefined ? [] : [lookup('message', messageId)]),
    ...ownLookups(target),
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
