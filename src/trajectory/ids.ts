import { randomBytes } from 'node:crypto';
import { z } from 'zod';

/** Ids are branded, because many strings pass through and must not mix. */
export const trajectoryId = z.string().min(1).max(200).brand<'TrajectoryId'>();
export const modelCallId = z.string().min(1).max(200).brand<'ModelCallId'>();

export type TrajectoryId = z.infer<typeof trajectoryId>;
export type ModelCallId = z.infer<typeof modelCallId>;

/** Random digits of one id, beside the fixed one of the variant. */
const digitsPerId = 18;
/** Made for many ids at a time: asking for a few random bytes costs as much as asking for thousands. */
const idsAtATime = 256;
let digits = '';
let used = 0;
let millisecond = -1;
let prefix = '';

/**
 * A UUID of version 7 (RFC 9562): in the order of time, so that an index grows at its end. Made here, because packages
 * take many times as long.
 *
 * @param now milliseconds since the epoch
 */
export function timeOrderedId(now = Date.now()): string {
  if (now !== millisecond) {
    millisecond = now;
    const time = now.toString(16).padStart(12, '0');
    prefix = `${time.slice(0, 8)}-${time.slice(8)}-7`;
  }
  if (used === digits.length) {
    digits = randomBytes((idsAtATime * digitsPerId) / 2).toString('hex');
    used = 0;
  }
  const at = used;
  used += digitsPerId;
  return `${prefix}${digits.slice(at, at + 3)}-8${digits.slice(at + 3, at + 6)}-${digits.slice(at + 6, used)}`;
}

/** Names of projects, models and adapters: safe as a folder name and in a URL. */
export const namePattern = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** A policy: base model + one adapter step, `name@step`. */
export const policyIdPattern = /^([a-z0-9][a-z0-9._-]{0,63})@(\d+)$/;

export interface PolicyRef {
  readonly name: string;
  readonly step: number;
}

/** `{name: 'triage', step: 3}` → `triage@3`, the immutable name under which the step is served. */
export function policyId(ref: PolicyRef): string {
  return `${ref.name}@${String(ref.step)}`;
}

/** `triage@3` → `{name: 'triage', step: 3}`; undefined where the text is no policy id. */
export function parsePolicyId(text: string): PolicyRef | undefined {
  const match = policyIdPattern.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { name: match[1], step: Number(match[2]) };
}
