/** How a trajectory's JSON lies in its column: as text where it is short, in the zlib format where it is long. */
import { deflateSync, inflateSync } from 'node:zlib';

/** Long runs repeat themselves, and compression pays; below this, it costs more time than writing the bytes. */
const longFrom = 16 * 1024;

/** Of the JSON as UTF-8. */
export function packBody(json: Buffer): string | Uint8Array {
  return json.length < longFrom ? json.toString() : deflateSync(json, { level: 1 });
}

/** Throws where the bytes are not of the zlib format. */
export function unpackBody(body: string | Uint8Array): string {
  return typeof body === 'string' ? body : inflateSync(body).toString();
}
