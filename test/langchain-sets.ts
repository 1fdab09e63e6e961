/**
 * The three sets of LangChain packages that are supported, side by side. Two are installed under aliases, and their
 * packages would find each other's newest version: a hook on module resolution keeps each set to itself.
 */
import { registerHooks } from 'node:module';
import type * as ChatModels from '@langchain/core/language_models/chat_models';
import type * as Messages from '@langchain/core/messages';
import type * as Outputs from '@langchain/core/outputs';
import type * as Prompts from '@langchain/core/prompts';
import type * as Tools from '@langchain/core/tools';
import type * as LangGraph from '@langchain/langgraph';
import type * as Prebuilt from '@langchain/langgraph/prebuilt';
import type * as OpenAI from '@langchain/openai';
import type * as LangChain from 'langchain';

/** Package → its alias, but for the ending of the set. */
const aliases: Readonly<Record<string, string>> = {
  '@langchain/core': 'langchain-core',
  langchain: 'langchain',
  '@langchain/openai': 'langchain-openai',
  '@langchain/langgraph': 'langchain-langgraph',
  '@langchain/langgraph-checkpoint': 'langchain-langgraph-checkpoint',
};

registerHooks({
  resolve(specifier, context, next) {
    const set = /\/node_modules\/langchain(?:-[a-z-]+)?-([ml])\//.exec(context.parentURL ?? '')?.[1];
    const [, name = '', path = ''] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(specifier) ?? [];
    const alias = aliases[name];
    return next(set === undefined || alias === undefined ? specifier : `${alias}-${set}${path}`, context);
  },
});

/** What the tests use of LangChain: the newest types, whichever set is behind them. */
export interface LangChainSet {
  readonly name: string;
  readonly messages: typeof Messages;
  readonly prompts: typeof Prompts;
  readonly tools: typeof Tools;
  readonly outputs: typeof Outputs;
  readonly chatModels: typeof ChatModels;
  readonly graph: typeof LangGraph;
  readonly prebuilt: typeof Prebuilt;
  readonly openai: typeof OpenAI;
  readonly langchain: typeof LangChain;
}

/** `suffix`: '' for the newest set, '-m' and '-l' for the older ones. */
async function load(name: string, suffix: '' | '-m' | '-l'): Promise<LangChainSet> {
  const of = (given: string): string => {
    const [, head = '', path = ''] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(given) ?? [];
    return suffix === '' ? given : `${aliases[head] ?? head}${suffix}${path}`;
  };
  const bring = async <T>(given: string) => (await import(/* @vite-ignore */ of(given))) as T;
  return {
    name,
    messages: await bring('@langchain/core/messages'),
    prompts: await bring('@langchain/core/prompts'),
    tools: await bring('@langchain/core/tools'),
    outputs: await bring('@langchain/core/outputs'),
    chatModels: await bring('@langchain/core/language_models/chat_models'),
    graph: await bring('@langchain/langgraph'),
    prebuilt: await bring('@langchain/langgraph/prebuilt'),
    openai: await bring('@langchain/openai'),
    langchain: await bring('langchain'),
  };
}

export const sets: readonly LangChainSet[] = [
  await load('LangChain of core 1.4', ''),
  await load('LangChain of core 1.2', '-m'),
  await load('LangChain of core 1.1', '-l'),
];
