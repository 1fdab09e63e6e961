/** How a trajectory's JSON lies in its column: as text where it is short, in the zlib format where it is long. */
import { deflateSync, inflateSync } from 'node:zlib';

/** Long runs repeat themselves, and compression pays; below this, it costs more time than writing the bytes. */
const longFrom = 16 * 1024;

/** The bytes of a column's value, and whether they are to lie there as text. */
export interface PackedBody {
  readonly form: 'text' | 'zlib';
  readonly bytes: Uint8Array;
}

/** Of the JSON as UTF-8. */
export function packBody(json: Uint8Array): PackedBody {
  if (json.length < longFrom) return { form: 'text', bytes: json };
  return { form: 'zlib', bytes: deflateSync(json, { level: 1 }) };
}

/** Of the column's value. Throws where the bytes are not of the zlib format. */
export function unpackBody(body: string | Uint8Array): string {
  return typeof body === 'string' ? body : inflateSync(body).toString();
}
