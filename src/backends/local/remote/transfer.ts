/** Adapter folders travel to the host and back: verified by digest, resumed after a cut, in their place whole or not at all. */
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import pRetry from 'p-retry';
import { z } from 'zod';
import { AbortedError, AdapterRefusedError, SidecarError } from '../../../errors.ts';
import { asRefusal, type AdoptedAdapter, type SidecarClient } from '../client.ts';
import type { AdapterTransfer } from '../host.ts';
import { adapterFolder } from '../locations.ts';
import { toAdapterRef } from '../same-machine.ts';
import { appendTo, describeFile, readFrom, syncFolder, type FileDescription } from './files.ts';

/** Tries in a row without a single byte more; the pauses between them grow from a fifth of a second to five. */
const tries = 10;

const manifest = z.looseObject({
  name: z.string(),
  step: z.int(),
  digest: z.string(),
  files: z.record(z.string(), z.string()),
});
const fileName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.(json|safetensors)$/;
const described = z.object({ bytes: z.int().min(0), sha256: z.string() });
const listing = z.object({
  digest: z.string(),
  files: z.record(z.string().regex(fileName), described),
});
const upload = z.object({ upload: z.string(), folder: z.string(), received: z.record(z.string(), z.int()) });

/** `root`: this project's folder. */
export function transferTo(root: string): AdapterTransfer {
  return {
    nameOf: hostFolder,
    give: async ({ client }, folder, signal) => {
      const { name, step, digest, files } = await readManifest(folder);
      const target = hostFolder(name, step);
      if ((await findOnHost(client, target, signal))?.digest === digest) return target;
      try {
        const sent = await send(client, folder, [...Object.keys(files), 'manifest.json'], signal);
        await client.send({
          method: 'POST',
          path: `/uploads/${sent.upload}/finish`,
          json: { folder: target },
          ...optional(signal),
        });
      } catch (error) {
        throw asRefusal(error);
      }
      return target;
    },
    take: (sidecar, adapter, signal) => take(sidecar.client, root, adapter, signal),
    lend: async ({ client }, folder, use) => {
      const sent = await send(
        client,
        folder,
        ['adapter_config.json', 'adapter_model.safetensors'],
        undefined,
      );
      const result = await use(sent.folder);
      await client.send({ method: 'DELETE', path: `/uploads/${sent.upload}` }).catch(() => undefined); // removed by age
      return result;
    },
  };
}

/** What the host calls the folder of a step: relative to its state folder, so that it is the same on every host. */
function hostFolder(name: string, step: number): string {
  return `models/${name}/adapters/${String(step).padStart(4, '0')}`;
}

async function readManifest(folder: string): Promise<z.infer<typeof manifest>> {
  try {
    return manifest.parse(JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')));
  } catch (error) {
    throw new AdapterRefusedError(`There is no complete adapter in ${folder}.`, {
      fix: 'Give the location that a training job ended with; what is served stays as it is.',
      cause: error,
    });
  }
}

async function findOnHost(
  client: SidecarClient,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<z.infer<typeof listing> | undefined> {
  try {
    const path = `/adapter?folder=${encodeURIComponent(folder)}`;
    return listing.parse(await (await client.send({ method: 'GET', path, ...optional(signal) })).json());
  } catch (error) {
    if (error instanceof SidecarError && error.sidecarCode === 'adapter_not_found') return undefined;
    throw error;
  }
}

/** Sends the files of a folder, from where an earlier try was cut. */
async function send(
  client: SidecarClient,
  folder: string,
  names: readonly string[],
  signal: AbortSignal | undefined,
): Promise<z.infer<typeof upload>> {
  const files = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await describe(folder, name)] as const)),
  );
  return resuming(signal, async (progress) => {
    const answer = await client.send({
      method: 'POST',
      path: '/uploads',
      json: { files },
      ...optional(signal),
    });
    const begun = upload.parse(await answer.json());
    progress(Object.values(begun.received).reduce((sum, bytes) => sum + bytes, 0));
    for (const name of names) {
      const offset = begun.received[name] ?? 0;
      if (offset > 0 && offset === files[name]?.bytes) continue;
      await client.send({
        method: 'PUT',
        path: `/uploads/${begun.upload}/${name}`,
        stream: readFrom(join(folder, name), offset),
        headers: { 'upload-offset': String(offset) },
        ...optional(signal),
      });
    }
    return begun;
  });
}

async function describe(folder: string, name: string): Promise<FileDescription> {
  const found = fileName.test(name) ? await describeFile(join(folder, name)) : undefined;
  if (found !== undefined) return found;
  throw new AdapterRefusedError(`The file ${name} of the adapter in ${folder} cannot be read.`, {
    fix: 'Restore the folder from a copy, or train the step again; what is served stays as it is.',
  });
}

/** Fetches what the host made, unless it is here already. */
async function take(
  client: SidecarClient,
  root: string,
  adapter: AdoptedAdapter,
  signal: AbortSignal | undefined,
): ReturnType<AdapterTransfer['take']> {
  const place = adapterFolder(root, adapter.name, adapter.step);
  const there = await readManifest(place).catch(() => undefined);
  if (there !== undefined && there.digest !== adapter.digest) {
    throw new AdapterRefusedError(`${place} holds other weights than the host made.`, {
      fix: 'Move that folder away, or train into another step.',
    });
  }
  if (there === undefined) {
    // Outside of the adapters, so that nobody takes the half of one for the whole.
    const temporary = join(root, 'downloads', basename(adapter.digest.replace(':', '-')));
    await mkdir(temporary, { recursive: true, mode: 0o700 });
    await receive(client, adapter, temporary, signal);
    await syncFolder(temporary);
    await mkdir(dirname(place), { recursive: true, mode: 0o700 });
    await rename(temporary, place);
    await syncFolder(dirname(place));
  }
  return toAdapterRef(adapter, place);
}

async function receive(
  client: SidecarClient,
  { folder, digest }: AdoptedAdapter,
  temporary: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await resuming(signal, async (progress) => {
    const found = await findOnHost(client, folder, signal);
    if (found?.digest !== digest) {
      throw new AdapterRefusedError(`The host does not have ${folder} with the weights that it made.`, {
        fix: 'Train the step again; the last published step goes on serving.',
      });
    }
    let bytes = 0;
    for (const [name, wanted] of Object.entries(found.files)) {
      const file = join(temporary, name);
      const offset = (await describeFile(file))?.bytes ?? 0;
      bytes += offset;
      progress(bytes);
      if (offset < wanted.bytes || wanted.bytes === 0) {
        const path = `/adapter/${name}?folder=${encodeURIComponent(folder)}`;
        const headers = offset === 0 ? {} : { range: `bytes=${String(offset)}-` };
        const answer = await client.send({ method: 'GET', path, headers, ...optional(signal) });
        await appendTo(file, answer.status === 206 ? offset : 0, answer.body);
      }
      if ((await describeFile(file))?.sha256 !== wanted.sha256) {
        await rm(file, { force: true });
        throw new SidecarError(`${name} of ${folder} arrived with another digest than announced.`, {
          fix: 'It is fetched again.',
          retryable: true,
        });
      }
    }
  });
}

/** Does `round` until it comes through; only tries in a row that bring no byte more are counted. */
async function resuming<T>(
  signal: AbortSignal | undefined,
  round: (progress: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  let most = 0;
  for (;;) {
    const before = most;
    try {
      return await pRetry(
        () =>
          round((bytes) => {
            most = Math.max(most, bytes);
          }),
        {
          retries: tries,
          minTimeout: 200,
          maxTimeout: 5000,
          shouldRetry: ({ error }) => isCut(error),
          ...optional(signal),
        },
      );
    } catch (error) {
      if (signal?.aborted === true) throw new AbortedError('The transfer of an adapter', signal.reason);
      if (!isCut(error) || most === before) throw error;
    }
  }
}

/** Cuts, and what they leave behind: an older request that still holds a file, or bytes on the way. */
function isCut(error: unknown): boolean {
  if (!(error instanceof SidecarError)) return error instanceof TypeError || isStreamError(error);
  return error.retryable || /^upload_(offset|superseded|corrupt|not_found)$/.test(error.sidecarCode ?? '');
}

function isStreamError(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && /^(ECONN|UND_ERR|EPIPE|ETIMEDOUT)/.test(String(error.code))
  );
}

function optional(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
