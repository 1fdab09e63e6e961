/** A sidecar on another host as a backend. */
import { readFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import type { BackendContext } from '../../backend.ts';
import { adaptersFolder } from '../locations.ts';
import { modelSettings } from '../models/registry.ts';
import { RunningLocalBackend } from '../running.ts';
import { RemoteHost } from './host.ts';
import type { RemoteAddress } from './options.ts';
import { transferTo } from './transfer.ts';

/** Connects and checks who answers. Throws BackendUnavailableError, InvalidOptionError, SidecarError. */
export async function startRemote(
  context: BackendContext,
  address: RemoteAddress,
  timeoutMs: number,
): Promise<RunningLocalBackend> {
  const root = resolve(context.folder);
  const transfer = transferTo(root);
  const host = new RemoteHost({
    address,
    baseModel: context.baseModel,
    baseDigest: await trainedOn(adaptersFolder(root, context.name)),
    timeoutMs,
    transfer,
    onProgress: (message) => context.onProgress?.({ stage: 'start', message }),
  });
  const running = new RunningLocalBackend(context, {
    host,
    transfer,
    loraTargets: (await modelSettings(context.baseModel)).loraTargets,
  });
  try {
    await running.endpoint('base', context.signal);
  } catch (error) {
    await running.close();
    throw error;
  }
  return running;
}

const manifest = z.object({ base_digest: z.string() });

/** Digest of the base model of the newest adapter here. */
async function trainedOn(folder: string): Promise<string | undefined> {
  const steps = (await readdir(folder).catch(() => [])).filter((name) => /^\d+$/.test(name)).sort();
  for (const step of steps.reverse()) {
    const text = await readFile(join(folder, step, 'manifest.json'), 'utf8').catch(() => undefined);
    const parsed = text === undefined ? undefined : manifest.safeParse(JSON.parse(text));
    if (parsed?.success === true) return parsed.data.base_digest;
  }
  return undefined;
}
