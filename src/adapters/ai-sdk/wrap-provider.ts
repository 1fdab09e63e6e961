import { isLanguageModel } from './specification.ts';
import { wrapModel, type AdapterHost } from './wrap-model.ts';

/**
 * Wraps a whole provider: every language model that it makes, by calling it or one of its methods, comes out wrapped;
 * embeddings, images, tools and everything else come out as they are.
 */
export function wrapProvider<P extends object>(provider: P, host: AdapterHost): P {
  const maybeWrap = (value: unknown): unknown => (isLanguageModel(value) ? wrapModel(value, host) : value);
  return new Proxy(provider, {
    apply: (target, self, given: unknown[]) =>
      maybeWrap(Reflect.apply(target as (...values: unknown[]) => unknown, self, given)),
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...given: unknown[]) =>
        maybeWrap(Reflect.apply(value as (...values: unknown[]) => unknown, target, given));
    },
  });
}

type DefaultProviderHolder = { AI_SDK_DEFAULT_PROVIDER?: object };

/**
 * Records agents that name their models by strings (`model: 'openai/gpt-5'`): puts a wrapped provider where the AI SDK
 * looks for its default one. `provider`: what resolves such names today, for instance `gateway` from `ai`.
 *
 * @returns a function that takes it out again
 */
export function installDefaultProvider(provider: object, host: AdapterHost): () => void {
  const holder = globalThis as DefaultProviderHolder;
  const before = holder.AI_SDK_DEFAULT_PROVIDER;
  const installed = wrapProvider(provider, host);
  holder.AI_SDK_DEFAULT_PROVIDER = installed;
  return () => {
    if (holder.AI_SDK_DEFAULT_PROVIDER !== installed) return;
    if (before === undefined) delete holder.AI_SDK_DEFAULT_PROVIDER;
    else holder.AI_SDK_DEFAULT_PROVIDER = before;
  };
}
