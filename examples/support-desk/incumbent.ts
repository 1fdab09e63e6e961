import type { LanguageModel } from 'ai';

type ModelObject = Exclude<LanguageModel, string>;

const refuse = (): never => {
  throw new Error('The demo has no provider account: only the policy answers.');
};

/**
 * Stands where your agent has `openai('gpt-5-mini')`: the model that is called today. The demo needs no account, so
 * this one refuses; every call is answered by the policy while it trains.
 */
export const noIncumbent: ModelObject = {
  specificationVersion: 'v4',
  provider: 'demo',
  modelId: 'no-incumbent',
  supportedUrls: {},
  doGenerate: refuse,
  doStream: refuse,
};
