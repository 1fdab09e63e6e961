/** What the store's thread is asked and answers: lists of requests and of responses. */
import type { Store } from '../store.ts';

export type StoreMethod = Exclude<keyof Store, 'location' | 'prepare' | 'appendPrepared'>;

export interface StoreRequest {
  readonly id: number;
  readonly method: StoreMethod;
  readonly arguments: readonly unknown[];
}

/** Errors as plain data: classes do not survive the way between threads. */
export type StoreFailure =
  | { readonly type: 'failed'; readonly message: string; readonly code: string | undefined }
  | {
      readonly type: 'invalid-record';
      readonly field: string;
      readonly received: unknown;
      readonly expected: string;
      readonly fix: string;
    };

export type StoreResponse =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly error: StoreFailure };
