/** What the store's thread is asked and answers: lists of requests and of responses. */
import type { Store } from '../store.ts';
import type { BodyPlace } from './bodies.ts';
import type { EncodedTrajectory } from './encoded.ts';

export type StoreMethod = Exclude<keyof Store, 'location'>;

export interface StoreRequest {
  readonly id: number;
  readonly method: StoreMethod;
  readonly arguments: readonly unknown[];
}

/** A trajectory to append; its text lies in the chunks. */
export interface SentTrajectory extends Omit<EncodedTrajectory, 'body'> {
  readonly body: BodyPlace;
}

/** What is sent at once. */
export interface StoreBatch {
  readonly requests: readonly StoreRequest[];
  readonly chunks: readonly ArrayBuffer[];
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
