/** An object in the place of a language model: all of it is the model's, but for a few properties. */
import { inspect } from 'node:util';
import type { LanguageModelLike } from './specification.ts';

/** What is read in the place of the model's own properties. */
export type Replaced = ReadonlyMap<PropertyKey, () => unknown>;

/**
 * Reads and writes go to `model`, with `model` as their receiver: getters on classes with private fields fail on any
 * other.
 *
 * A proxy alone would do. But the AI SDK reads what a model is called seventeen times for each call, which through a proxy
 * takes more than a microsecond of it: those properties are accessors of an object in front of it (docs/decisions/0007).
 */
export function standInFor(model: LanguageModelLike, replaced: Replaced): object {
  const read = (key: PropertyKey): unknown => {
    const instead = replaced.get(key);
    if (instead !== undefined) return instead();
    const value: unknown = Reflect.get(model, key, model);
    return typeof value === 'function' && key !== 'constructor' ? (value.bind(model) as unknown) : value;
  };
  const write = (key: PropertyKey, value: unknown): boolean => Reflect.set(model, key, value, model);
  const prototype = Object.getPrototypeOf(model) as object | null;
  // Of an empty object of the same class: a proxy must show what is fixed on its own target as it is.
  const proxy = new Proxy(Object.create(prototype) as object, {
    get: (_, key) => (key === inspect.custom ? () => model : read(key)),
    set: (_, key, value) => write(key, value),
    has: (_, key) => replaced.has(key) || Reflect.has(model, key),
  });
  const front = Object.create(proxy) as object;
  const named = new Map<PropertyKey, () => unknown>([
    ['provider', () => model.provider],
    ['modelId', () => model.modelId],
    ['specificationVersion', () => model.specificationVersion],
  ]);
  for (const key of new Set([...Reflect.ownKeys(model), ...named.keys()])) {
    Object.defineProperty(front, key, {
      get: replaced.get(key) ?? named.get(key) ?? (() => read(key)),
      set: (value: unknown) => write(key, value),
      enumerable: Object.getOwnPropertyDescriptor(model, key)?.enumerable ?? false,
      configurable: true,
    });
  }
  return front;
}
