/**
 * Schemas of what fills most of a record: JSON from elsewhere, token ids, log-probabilities. Written as plain loops,
 * because each record is checked on its way into the store, and element by element in zod takes ten times as long.
 */
import { z } from 'zod';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Deeper than any real message; also where a cycle ends. */
const maxDepth = 200;

/** JSON; properties that are undefined are taken for left out, as `JSON.stringify` does. */
export const json = z.custom<Json>((value) => isJson(value, 0), 'Invalid input: expected JSON');

/** Ids in the vocabulary of the policy's tokenizer. */
export const tokenIds = z.custom<number[]>(
  (value) => isArrayOf(value, isTokenId),
  'Invalid input: expected array of token ids (integers from 0)',
);

/** Natural logarithms; null where the server gave none. */
export const logprobs = z.custom<(number | null)[]>(
  isLogprobs,
  'Invalid input: expected array of finite numbers or null',
);

/** Unlike `every`, it looks into holes, too. */
export function isArrayOf(value: unknown, fits: (one: unknown) => boolean): boolean {
  if (!Array.isArray(value)) return false;
  for (let at = 0; at < value.length; at += 1) if (!fits(value[at])) return false;
  return true;
}

function isJson(value: unknown, depth: number): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || depth >= maxDepth) return false;
  if (Array.isArray(value)) return isArrayOf(value, (one) => isJson(one, depth + 1));
  return isPlain(value) && Object.values(value).every((one) => one === undefined || isJson(one, depth + 1));
}

/** Of this or another realm, or without a prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function isTokenId(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A loop of its own: a number with a fraction that is handed to a function becomes an object on the heap. */
function isLogprobs(value: unknown): boolean {
  if (!Array.isArray(value)) return false;
  for (let at = 0; at < value.length; at += 1) {
    if (value[at] !== null && !Number.isFinite(value[at])) return false;
  }
  return true;
}
