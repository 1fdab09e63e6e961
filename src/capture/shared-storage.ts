import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * An AsyncLocalStorage that all copies of this package in one process share (ESM beside CommonJS, monorepos): it hangs
 * on `globalThis` under a registered symbol. `name` changes when the shape of what it holds does.
 */
export function sharedStorage<T>(name: string): AsyncLocalStorage<T> {
  const key = Symbol.for(name);
  const existing: unknown = Reflect.get(globalThis, key);
  if (existing instanceof AsyncLocalStorage) return existing as AsyncLocalStorage<T>;
  const made = new AsyncLocalStorage<T>();
  Reflect.set(globalThis, key, made);
  return made;
}
