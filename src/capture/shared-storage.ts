import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * One object for all copies of this package in one process (ESM beside CommonJS, monorepos): it hangs on `globalThis`
 * under a registered symbol. `name` changes when the shape of the object does.
 */
export function sharedObject<T extends object>(name: string, make: () => T): T {
  const key = Symbol.for(name);
  const existing: unknown = Reflect.get(globalThis, key);
  if (typeof existing === 'object' && existing !== null) return existing as T;
  const made = make();
  Reflect.set(globalThis, key, made);
  return made;
}

/** An AsyncLocalStorage that all copies share. `name` changes when the shape of what it holds does. */
export function sharedStorage<T>(name: string): AsyncLocalStorage<T> {
  return sharedObject(name, () => new AsyncLocalStorage<T>());
}
