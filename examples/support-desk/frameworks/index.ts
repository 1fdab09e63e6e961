import type { Framework } from './framework.ts';

export const frameworkNames = ['ai-sdk', 'langchain', 'openai'] as const;
export type FrameworkName = (typeof frameworkNames)[number];

/** Loaded when asked for, so that each framework needs its own packages only. */
const frameworks: Readonly<Record<FrameworkName, () => Promise<Framework>>> = {
  'ai-sdk': async () => (await import('./ai-sdk.ts')).aiSdk,
  langchain: async () => (await import('./langchain.ts')).langchain,
  openai: async () => (await import('./openai.ts')).openai,
};

export async function loadFramework(name: FrameworkName): Promise<Framework> {
  return frameworks[name]();
}
