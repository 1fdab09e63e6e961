/**
 * How a trajectory lies in its column: its JSON in one line, then its long texts, one after the other; in the zlib format
 * where that is long. Older versions have stored text in the column, which is JSON alone, or JSON in the zlib format.
 */
import { deflateSync, inflateSync } from 'node:zlib';

/** A line feed, which JSON without indentation has only as an escape. */
export const endOfJson = 0x0a;

/** Long runs repeat themselves, and compression pays; below this, it costs more time than writing the bytes. */
const longFrom = 16 * 1024;
/** What JSON of an object begins with, and the zlib format never. */
const brace = 0x7b;

export interface Body {
  readonly json: string;
  readonly texts: string;
}

/** Of the bytes as they are in memory: the value of the column. */
export function packBody(body: Uint8Array): Uint8Array {
  return body.length < longFrom ? body : deflateSync(body, { level: 1 });
}

/** Of the value of the column. Throws where bytes are neither an object's JSON nor of the zlib format. */
export function unpackBody(value: string | Uint8Array): Body {
  if (typeof value === 'string') return { json: value, texts: '' };
  const body =
    value[0] === brace ? Buffer.from(value.buffer, value.byteOffset, value.length) : inflateSync(value);
  const end = body.indexOf(endOfJson);
  if (end === -1) return { json: body.toString(), texts: '' };
  return { json: body.toString('utf8', 0, end), texts: body.toString('utf8', end + 1) };
}
