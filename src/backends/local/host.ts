/** What a running local backend needs of its sidecar, whether it runs here or on another host. */
import type { AdapterRef } from '../backend.ts';
import type { AdoptedAdapter, Health, SidecarClient } from './client.ts';
import type { PublishedAdapters } from './published.ts';

/** A sidecar that answers. */
export interface Sidecar {
  readonly client: SidecarClient;
  readonly health: Health;
  /** Without a slash at its end. */
  readonly baseUrl: string;
  readonly token: string;
  /** Sends model calls where the global one does not reach it. */
  readonly fetch?: typeof fetch;
}

export interface SidecarHost {
  /** The running sidecar; waits for a restart or a reconnection that is under way. Throws BackendUnavailableError. */
  process(signal?: AbortSignal): Promise<Sidecar>;
  /** What it publishes again whenever the sidecar has lost it. */
  readonly published: PublishedAdapters;
  close(): Promise<void>;
}

/** How adapter folders get to the sidecar and back. */
export interface AdapterTransfer {
  /** What the sidecar calls the folder of a step that is to be made. */
  nameOf(name: string, step: number): string;
  /** Makes sure that the sidecar has this folder of ours; gives what it calls it. Throws AdapterRefusedError. */
  give(sidecar: Sidecar, folder: string, signal?: AbortSignal): Promise<string>;
  /** Makes sure that this machine has what the sidecar made. */
  take(sidecar: Sidecar, adapter: AdoptedAdapter, signal?: AbortSignal): Promise<AdapterRef>;
  /** Lets the sidecar use a folder from elsewhere, which is no adapter of ours yet. */
  lend<T>(sidecar: Sidecar, folder: string, use: (name: string) => Promise<T>): Promise<T>;
}
