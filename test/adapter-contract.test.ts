/** The contract that every adapter keeps, on every major of its framework. */
import { describe, it } from 'vitest';
import { adapterContract, type AdapterUnderTest } from '../src/testing/index.ts';
import { sets } from './langchain-sets.ts';
import { majors } from './models.ts';
import { aiSdkSubject } from './subjects/ai-sdk.ts';
import { langchainSubject } from './subjects/langchain.ts';
import { openaiMajors } from './subjects/openai-majors.ts';
import { openaiSubject } from './subjects/openai.ts';

const subjects: readonly (readonly [name: string, adapter: AdapterUnderTest])[] = [
  ...majors.map((major) => [major.name, aiSdkSubject(major)] as const),
  ...sets.map((set) => [set.name, langchainSubject(set)] as const),
  ...openaiMajors.map((major) => [major.name, openaiSubject(major)] as const),
];

describe.each(subjects)('%s', (_, adapter) => {
  for (const { title, run } of adapterContract(adapter)) it(title, run);
});
