/** The store's thread: one request after the other, each answered once it is durable. */
import { parentPort, workerData } from 'node:worker_threads';
import { openDatabase } from './database.ts';
import type { StoreRequest, StoreResponse } from './messages.ts';

const port = parentPort;
if (port === null) throw new Error('This file is the thread of the SQLite store and runs in a worker only.');

const { path } = workerData as { readonly path: string };
const database = openDatabase(path);
let last: Promise<void> = Promise.resolve();

port.on('message', (request: StoreRequest) => {
  last = last
    .then(() => answer(request))
    .then((response) => {
      port.postMessage(response);
      if (request.method === 'close') port.close();
    });
});

async function answer({ id, method, arguments: given }: StoreRequest): Promise<StoreResponse> {
  try {
    const store = await database;
    // Called on the store: its methods use `this`.
    const methods = store as unknown as Record<string, (...values: unknown[]) => unknown>;
    return { id, ok: true, value: await methods[method]?.(...given) };
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(String(error));
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
    return { id, ok: false, error: { message, code } };
  }
}
