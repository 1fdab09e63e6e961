/** What the store's thread is asked and answers. */
import type { Store } from '../store.ts';

export type StoreMethod = Exclude<keyof Store, 'location'>;

export interface StoreRequest {
  readonly id: number;
  readonly method: StoreMethod;
  readonly arguments: readonly unknown[];
}

export type StoreResponse =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | {
      readonly id: number;
      readonly ok: false;
      readonly error: { readonly message: string; readonly code: string | undefined };
    };
