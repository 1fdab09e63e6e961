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

/** Everything that feedback can find a trajectory by, but for its own id, as `kind:value`. */
export function namesOf(
  one: Pick<Trajectory, 'messageId' | 'threadId' | 'runId' | 'keys'> & {
    readonly events: readonly (
      | { readonly kind: 'tool-result' }
      | { readonly kind: 'model-call'; readonly response: { readonly id?: string | undefined } }
    )[];
  },
): string[] {
  const { events, messageId, threadId } = one;
  const names = new Set<string>();
  for (const event of events) {
    if (event.kind === 'model-call' && event.response.id) names.add(lookup('response', event.response.id));
  }
  if (messageId !== null) names.add(lookup('message', messageId));
  if (threadId !== null) names.add(lookup('thread', threadId));
  return [...names, ...ownLookups(one)];
}

/** What the user calls a run. */
function ownLookups({ runId, keys }: Pick<Trajectory, 'runId' | 'keys'>): string[] {
  const names = runId === undefined ? [] : [lookup('run', runId)];
  for (const name in keys) names.push(lookup(`key/${name}`, String(keys[name])));
  return names;
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
