/** How a trajectory's JSON lies in its blob: as it is where it is short, in the zlib format where it is long. */
import { deflateSync, inflateSync } from 'node:zlib';

/** Long runs repeat themselves, and compression pays; below this, it costs more time than writing the bytes. */
const longFrom = 16 * 1024;
const openBrace = 0x7b;

export function packBody(json: string): Uint8Array {
  return json.length < longFrom ? Buffer.from(json) : deflateSync(json, { level: 1 });
}

/** Throws where the bytes are neither. */
export function unpackBody(body: Uint8Array): string {
  // A zlib stream begins with 0x78.
  const bytes = body[0] === openBrace ? Buffer.from(body) : inflateSync(body);
  return bytes.toString();
}
