import type { Framework } from './framework.ts';

/** Loaded when asked for, so that each framework needs its own packages only. */
const frameworks: Readonly<Record<string, () => Promise<Framework>>> = {
  'ai-sdk': async () => (await import('./ai-sdk.ts')).aiSdk,
  langchain: async () => (await import('./langchain.ts')).langchain,
  openai: async () => (await import('./openai.ts')).openai,
};

export const frameworkNames = Object.keys(frameworks);

/** The framework of that name; undefined where there is none. */
export async function loadFramework(name: string): Promise<Framework | undefined> {
  return frameworks[name]?.();
}
