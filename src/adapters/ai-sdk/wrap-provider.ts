import type { AdapterHost } from '../../capture/adapter-host.ts';
import { defaultProvider, setDefaultProvider, type DefaultProvider } from './default-provider.ts';
import { isLanguageModel } from './specification.ts';
import { wrapModel } from './wrap-model.ts';

type AnyFunction = (...given: unknown[]) => unknown;

/**
 * Wraps a whole provider: every language model that it makes, by calling it or one of its methods, comes out wrapped;
 * embeddings, images, tools and everything else come out as they are.
 */
export function wrapProvider<P extends object>(provider: P, host: AdapterHost): P {
  const maybeWrap = (value: unknown): unknown => (isLanguageModel(value) ? wrapModel(value, host) : value);
  return new Proxy(provider, {
    apply: (target, self, given: unknown[]) => maybeWrap(Reflect.apply(target as AnyFunction, self, given)),
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function' || key === 'constructor' || isFixed(target, key)) return value;
      return new Proxy(value as AnyFunction, {
        apply: (method, _, given: unknown[]) => maybeWrap(Reflect.apply(method, target, given)),
      });
    },
  });
}

/** A proxy must show a frozen property as it is. */
function isFixed(target: object, key: PropertyKey): boolean {
  const own = Reflect.getOwnPropertyDescriptor(target, key);
  return own?.configurable === false && own.writable === false;
}

/**
 * Records agents that name their models by strings (`model: 'openai/gpt-5'`): puts a wrapped provider where the AI SDK
 * looks for its default one. `provider`: what resolves such names today, for instance `gateway` from `ai`.
 *
 * @returns a function that takes it out again
 */
export function installDefaultProvider(provider: DefaultProvider, host: AdapterHost): () => void {
  const before = defaultProvider();
  const installed = wrapProvider(provider, host);
  setDefaultProvider(installed);
  return () => {
    if (defaultProvider() === installed) setDefaultProvider(before);
  };
}
