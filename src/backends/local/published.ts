import { policyId, type PolicyRef } from '../../trajectory/ids.ts';

export interface PublishedAdapter {
  readonly name: string;
  readonly step: number;
  /** As it is called on this machine. */
  readonly folder: string;
}

/** What is to be served, over the lives of the sidecar that serves it. */
export class PublishedAdapters {
  readonly #byPolicy = new Map<string, PublishedAdapter>();

  remember(adapter: PublishedAdapter): void {
    this.#byPolicy.set(policyId(adapter), adapter);
  }

  forget(policy: PolicyRef): void {
    this.#byPolicy.delete(policyId(policy));
  }

  has(policy: PolicyRef): boolean {
    return this.#byPolicy.has(policyId(policy));
  }

  [Symbol.iterator](): IterableIterator<PublishedAdapter> {
    return this.#byPolicy.values();
  }
}
