/** The store's thread: requests in their order, each answered once it is durable. */
import { parentPort, workerData } from 'node:worker_threads';
import { InvalidRecordError } from '../../errors.ts';
import { openDatabase } from './database.ts';
import type { StoreFailure, StoreRequest, StoreResponse } from './messages.ts';
import { letTheHostGoFirst } from './priority.ts';

const port = parentPort;
if (port === null) throw new Error('This file is the thread of the SQLite store and runs in a worker only.');

letTheHostGoFirst();
const { path } = workerData as { readonly path: string };
const database = openDatabase(path);
const waiting: StoreRequest[] = [];
let busy = false;

port.on('message', (requests: readonly StoreRequest[]) => {
  waiting.push(...requests);
  if (busy) return;
  busy = true;
  // What has come by now is taken together: appends that stand in a row share one commit.
  setImmediate(() => void work());
});

async function work(): Promise<void> {
  while (waiting.length > 0) {
    const first = waiting.findIndex((request) => request.method !== 'append');
    const appends = waiting.splice(0, first === -1 ? waiting.length : first);
    if (appends.length > 0) {
      await appendTogether(appends);
      await tidy();
    }
    const next = waiting.shift();
    if (next === undefined) continue;
    if (next.method === 'append') waiting.unshift(next);
    else await answer(next);
    // Lets messages in that came meanwhile.
    await new Promise((resolve) => setImmediate(resolve));
  }
  busy = false;
}

/** A failure loses nothing: what was appended is stored, and it is tried again later. */
async function tidy(): Promise<void> {
  try {
    (await database).tidy();
  } catch (error) {
    process.emitWarning(
      `apprentice: the index of names in ${path} could not be put in order, so that searches take longer: ${String(error)}`,
      { code: 'APPRENTICE_STORE' },
    );
  }
}

/** One commit for all. Where that fails, each is tried alone, so that none fails for another's sake. */
async function appendTogether(requests: readonly StoreRequest[]): Promise<void> {
  if (requests.length > 1) {
    try {
      const batches = requests.map((request) => request.arguments[0] as never[]);
      const results = (await database).appendAll(batches);
      reply(requests.map(({ id }, index) => ({ id, ok: true, value: results[index] })));
      return;
    } catch {
      // Below, each meets its own error.
    }
  }
  for (const request of requests) await answer(request);
}

async function answer({ id, method, arguments: given }: StoreRequest): Promise<void> {
  try {
    const store = await database;
    // Called on the store: its methods use `this`.
    const methods = store as unknown as Record<string, (...values: unknown[]) => unknown>;
    reply([{ id, ok: true, value: await methods[method]?.(...given) }]);
  } catch (error) {
    reply([{ id, ok: false, error: toMessage(error) }]);
  }
  if (method === 'close') port?.close();
}

function toMessage(error: unknown): StoreFailure {
  if (error instanceof InvalidRecordError) {
    const { field, expected, fix } = error;
    return { type: 'invalid-record', field, expected, fix, received: error.received };
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  return { type: 'failed', message: error instanceof Error ? error.message : String(error), code };
}

function reply(responses: readonly StoreResponse[]): void {
  port?.postMessage(responses);
}
