/** Files of adapters, piece by piece: none is held in memory. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface FileDescription {
  readonly bytes: number;
  /** With the prefix `sha256:`. */
  readonly sha256: string;
}

/** Size and digest; undefined where there is no such file. */
export async function describeFile(path: string): Promise<FileDescription | undefined> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    await pipeline(createReadStream(path), async (pieces: AsyncIterable<Buffer>) => {
      for await (const piece of pieces) {
        bytes += piece.length;
        hash.update(piece);
      }
    });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return { bytes, sha256: `sha256:${hash.digest('hex')}` };
}

/** The file from byte `offset` on. */
export function readFrom(path: string, offset: number): ReadableStream<Uint8Array> {
  return Readable.toWeb(createReadStream(path, { start: offset })) as ReadableStream<Uint8Array>;
}

/** Writes what comes behind the first `offset` bytes, synced; what came before a cut stays. */
export async function appendTo(
  path: string,
  offset: number,
  body: ReadableStream<Uint8Array> | null,
): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    await file.truncate(offset);
    for await (const piece of body ?? []) await file.appendFile(piece);
  } finally {
    await file.sync();
    await file.close();
  }
}

/** Makes renames in a folder last. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return; // folders cannot be opened there
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
