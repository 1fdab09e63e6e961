/**
 * Which job of the service does which job of ours. The service takes no id from us and trains twice what is sent twice:
 * a note is written before the job is sent, so that a restart knows what may be under way.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const record = z.discriminatedUnion('state', [
  /** About to be sent, or sent without an answer. */
  z.object({ state: z.literal('sending'), latestStep: z.int(), at: z.number() }),
  z.object({ state: z.literal('sent'), serviceJobId: z.string(), latestStep: z.int(), at: z.number() }),
]);

export type JobRecord = z.infer<typeof record>;

export class JobRecords {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async read(jobId: string): Promise<JobRecord | undefined> {
    const text = await readFile(this.#path(jobId), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const parsed = record.safeParse(parseJson(text));
    return parsed.success ? parsed.data : undefined;
  }

  /** Durable once resolved. */
  async write(jobId: string, value: JobRecord): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const path = this.#path(jobId);
    const file = await open(`${path}.tmp`, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(value));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.tmp`, path);
  }

  async remove(jobId: string): Promise<void> {
    await rm(this.#path(jobId), { force: true });
  }

  #path(jobId: string): string {
    return join(this.#folder, `${encodeURIComponent(jobId)}.json`);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
