/** Both sides see the same folders: nothing has to travel. */
import type { AdapterRef } from '../backend.ts';
import type { AdoptedAdapter } from './client.ts';
import type { AdapterTransfer } from './host.ts';
import { adapterFolder } from './locations.ts';

export function sameMachine(root: string): AdapterTransfer {
  return {
    nameOf: (name, step) => adapterFolder(root, name, step),
    give: (_, folder) => Promise.resolve(folder),
    take: (_, adapter) => Promise.resolve(toAdapterRef(adapter, adapter.folder)),
    lend: (_, folder, use) => use(folder),
  };
}

export function toAdapterRef({ name, step, digest }: AdoptedAdapter, location: string): AdapterRef {
  return { name, step, location, version: digest };
}
