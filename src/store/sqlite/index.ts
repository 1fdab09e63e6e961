import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { InvalidRecordError, StoreError, type ApprenticeError } from '../../errors.ts';
import type { Trajectory } from '../../trajectory/records.ts';
import type { AppendResult, PreparedTrajectory, Store } from '../store.ts';
import { encode, EncodedTrajectory } from './encoded.ts';
import type { StoreFailure, StoreMethod, StoreRequest, StoreResponse } from './messages.ts';
import { RecordWriter, type RecordPlace } from './record-bytes.ts';

export interface SqliteStoreOptions {
  /** Holds `apprentice.sqlite`; made where it is missing. Default: `.apprentice`. */
  readonly folder?: string;
}

/**
 * Opens the SQLite store. All its work is done in a thread of its own; what `append` and `reward` resolve for has been
 * synced to disk. Throws StoreError.
 */
export async function openSqliteStore(options: SqliteStoreOptions = {}): Promise<Store> {
  const path = join(options.folder ?? '.apprentice', 'apprentice.sqlite');
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StoreError(`The folder of the store, ${dirname(path)}, cannot be made.`, {
      fix: 'Choose a folder that this user may write to, with the option `folder`.',
      cause: error,
    });
  }
  const thread = new StoreThread(path);
  await thread.call('stats', []);
  return asStore(thread, path);
}

/** How long an append waits for others before it is sent: waking a thread that sleeps costs more than ten rows do. */
const lingerMs = 5;
/** Rows that are sent at once: the thread begins on them while more are being encoded. */
const fullAt = 100;

class StoreThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: ApprenticeError) => void }
  >();
  #nextId = 0;
  #ended: StoreError | undefined;
  /** Requests that are not sent yet, in their order, with the number of rows in them. */
  #outbox: StoreRequest[] = [];
  #outboxRows = 0;
  readonly #records = new RecordWriter();
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string) {
    // The thread's file stands beside this one and has the same ending: from source, as ESM and as CommonJS.
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.') + 1);
    this.#worker = new Worker(new URL(`./worker.${extension}`, import.meta.url), {
      workerData: { path },
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    this.#worker.on('message', (responses: readonly StoreResponse[]) => {
      for (const response of responses) this.#settle(response);
    });
    this.#worker.on('error', (error: unknown) => {
      this.#end(failed(String(error), undefined));
    });
    this.#worker.on('exit', () => {
      this.#end(new StoreError('The store is closed.', { fix: 'Open it again.' }));
    });
    this.#worker.unref();
  }

  prepare(trajectory: Trajectory): EncodedTrajectory {
    return encode(trajectory, this.#records);
  }

  /** Sent with the next requests that wait for an answer, or soon. */
  append(rows: readonly RecordPlace[]): Promise<unknown> {
    const answer = this.#enqueue('append', [rows]);
    this.#outboxRows += rows.length;
    if (this.#outboxRows >= fullAt) this.#send();
    else
      this.#timer ??= setTimeout(() => {
        this.#send();
      }, lingerMs);
    return answer;
  }

  call(method: StoreMethod, given: readonly unknown[]): Promise<unknown> {
    const answer = this.#enqueue(method, given);
    this.#send();
    return answer;
  }

  #enqueue(method: StoreMethod, given: readonly unknown[]): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    this.#outbox.push({ id, method, arguments: given });
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#outboxRows = 0;
    const requests = this.#outbox.splice(0);
    if (requests.length === 0) return;
    // The process may end while the thread is idle, not while it has something to do.
    this.#worker.ref();
    try {
      this.#worker.postMessage(requests);
    } catch {
      // One that cannot be sent must not take the others with it.
      for (const request of requests) this.#sendAlone(request);
    }
  }

  #sendAlone(request: StoreRequest): void {
    try {
      this.#worker.postMessage([request]);
    } catch (error) {
      this.#settle({ id: request.id, ok: false, error: unsendable(error) });
    }
  }

  #settle(response: StoreResponse): void {
    const waiting = this.#waiting.get(response.id);
    this.#waiting.delete(response.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (response.ok) waiting?.resolve(response.value);
    else waiting?.reject(toError(response.error));
  }

  #end(error: StoreError): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#ended);
    this.#waiting.clear();
  }
}

/** Functions and the like, in metadata for instance. */
function unsendable(error: unknown): StoreFailure {
  return {
    type: 'invalid-record',
    field: 'record',
    received: String(error),
    expected: 'plain data',
    fix: 'Give metadata, messages and parameters as JSON.',
  };
}

function toError(failure: StoreFailure): ApprenticeError {
  switch (failure.type) {
    case 'failed':
      return failed(failure.message, failure.code);
    case 'invalid-record':
      return new InvalidRecordError(failure);
    default:
      throw new TypeError(`There is no failure ${String(failure satisfies never)}.`);
  }
}

function failed(message: string, code: string | undefined): StoreError {
  if (/previously executed migration \S+ is missing/.test(message)) {
    return new StoreError('The store was written by a newer version of apprentice.', {
      fix: 'Upgrade this one, or use another folder (the option `folder`).',
    });
  }
  const full = /disk is full|disk I\/O error/.test(message);
  return new StoreError(`The store failed: ${message}${code === undefined ? '' : ` (${code})`}.`, {
    fix: full
      ? 'See whether its disk has room and is well; recording goes on by itself.'
      : 'See the cause; nothing of this batch was written.',
    retryable: full,
  });
}

/** Throws StoreError for what another store has prepared. */
function placeOf(prepared: PreparedTrajectory): RecordPlace {
  if (prepared instanceof EncodedTrajectory) return prepared.place;
  throw new StoreError(`The trajectory ${prepared.id} was prepared by a store of another kind.`, {
    fix: 'Append it to the store whose `prepare` was called.',
  });
}

function asStore(thread: StoreThread, path: string): Store {
  const method = <M extends StoreMethod>(name: M) =>
    ((...given: readonly unknown[]) => thread.call(name, given)) as unknown as Store[M];
  const prepare = (trajectory: Trajectory) => thread.prepare(trajectory);
  const appendPrepared = async (prepared: readonly PreparedTrajectory[]) =>
    (await thread.append(prepared.map(placeOf))) as AppendResult;
  return {
    location: path,
    append: async (trajectories) => appendPrepared(trajectories.map(prepare)),
    prepare,
    appendPrepared,
    reward: method('reward'),
    feedback: method('feedback'),
    feedbackHistory: method('feedbackHistory'),
    get: method('get'),
    find: method('find'),
    count: method('count'),
    groups: method('groups'),
    beginStep: method('beginStep'),
    endStep: method('endStep'),
    steps: method('steps'),
    recordRollouts: method('recordRollouts'),
    rollouts: method('rollouts'),
    forgetRollouts: method('forgetRollouts'),
    stats: method('stats'),
    delete: method('delete'),
    flush: method('flush'),
    close: method('close'),
  };
}
