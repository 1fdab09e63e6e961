/** Where the AI SDK (5, 6, 7) looks up models that are named by strings. */
export interface DefaultProvider {
  languageModel?(id: string): object;
}

interface Holder {
  AI_SDK_DEFAULT_PROVIDER?: DefaultProvider;
}

/** The provider that is installed, if any; without one the AI SDK uses its gateway. */
export function defaultProvider(): DefaultProvider | undefined {
  return (globalThis as Holder).AI_SDK_DEFAULT_PROVIDER;
}

/** Installs `provider`; undefined takes out what is there. */
export function setDefaultProvider(provider: DefaultProvider | undefined): void {
  const holder = globalThis as Holder;
  if (provider === undefined) delete holder.AI_SDK_DEFAULT_PROVIDER;
  else holder.AI_SDK_DEFAULT_PROVIDER = provider;
}
