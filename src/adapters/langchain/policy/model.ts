/** The model that answers instead of the incumbent: the policy, behind a ChatOpenAI with the incumbent's settings. */
import type { PolicyRoute } from '../../../capture/route.ts';
import { boundOptions, chatModelIn, describeModel } from '../description.ts';
import { isConfigurable, isObject, methodOf, type ChatRunnable } from '../shapes.ts';
import { chatOpenAIFor, type ChatOpenAIClass, type Maker } from './chat-openai.ts';
import { policyFetch } from './fetch.ts';

/** What was done to the incumbent before it was called: `bindTools`, `withConfig`. */
export interface Operation {
  readonly name: string;
  readonly given: readonly unknown[];
}

/** How a policy is called. */
export interface PolicySettings {
  /**
   * Sampling temperature. Default: the incumbent's own, else 1. Only what was sampled at 1 is trained on, so set 1 here
   * where your agent's model has another.
   */
  readonly temperature?: number;
  /** Share of the probability to sample from. Default: the incumbent's own, else 1, which training needs, too. */
  readonly topP?: number;
  /** The class of `@langchain/openai` to call it with. Default: that of the incumbent, else the one that is installed. */
  readonly ChatOpenAI?: ChatOpenAIClass;
}

export interface PolicyModelParts {
  readonly root: ChatRunnable;
  readonly operations: readonly Operation[];
  readonly settings: PolicySettings;
}

/** Settings of chat models that a policy takes over, under the names that the providers' classes have in common. */
const inherited = [
  'temperature',
  'topP',
  'maxTokens',
  'stop',
  'stopSequences',
  'frequencyPenalty',
  'presencePenalty',
  'timeout',
  'callbacks',
  'tags',
  'metadata',
  'verbose',
  'disableStreaming',
  'outputVersion',
  'supportsStrictToolCalling',
] as const;

/** Makes the model of a policy, once, with everything that was bound to the root. */
export class PolicyModel {
  readonly #parts: PolicyModelParts;
  #made: { readonly key: string; readonly model: Promise<ChatRunnable> } | undefined;

  constructor(parts: PolicyModelParts) {
    this.#parts = parts;
  }

  /** Rejects with InvalidOptionError where there is no class to call policies with. */
  of(route: PolicyRoute): Promise<ChatRunnable> {
    const key = `${route.policy} ${route.onFailure}`;
    if (this.#made?.key !== key) {
      const model = this.#make(route);
      this.#made = { key, model };
      model.catch(() => (this.#made = undefined));
    }
    return this.#made.model;
  }

  async #make({ policy, onFailure }: PolicyRoute): Promise<ChatRunnable> {
    const { root, operations, settings } = this.#parts;
    const incumbent = await resolved(chatModelIn(root));
    const Class = settings.ChatOpenAI ?? (await chatOpenAIFor(incumbent));
    const bare = new (Class as Maker)({
      ...settingsOf(incumbent),
      ...(settings.temperature === undefined ? {} : { temperature: settings.temperature }),
      ...(settings.topP === undefined ? {} : { topP: settings.topP }),
      // Where the incumbent stands ready, nobody should wait for LangChain's retries.
      ...(onFailure === 'incumbent' ? { maxRetries: 0 } : {}),
      model: clientName(policy),
      n: 1,
      // Policies are served as chat completions; from some names LangChain would conclude something else.
      useResponsesApi: false,
      // Neither goes anywhere: the fetch has an endpoint and a key of its own.
      apiKey: 'unused',
      configuration: { baseURL: 'http://policy.invalid/v1', fetch: policyFetch(describeModel(root)) },
    });
    const bound = boundOptions(root);
    const start =
      Object.keys(bound).length === 0 ? bare : applied(bare, { name: 'withConfig', given: [bound] });
    return operations.reduce(applied, start);
  }
}

/** The model after the operation. */
export function applied(model: ChatRunnable, { name, given }: Operation): ChatRunnable {
  return methodOf(model, name)?.apply(model, [...given]) as ChatRunnable;
}

/** The model behind `initChatModel`, which makes it when it is first called. */
async function resolved(model: ChatRunnable): Promise<ChatRunnable> {
  return isConfigurable(model)
    ? ((await methodOf(model, '_getModelInstance')?.call(model)) as ChatRunnable)
    : model;
}

function settingsOf(incumbent: ChatRunnable): Readonly<Record<string, unknown>> {
  const given = inherited.flatMap((name) => {
    const value = incumbent[name];
    return value === undefined || value === null ? [] : [[name, value] as const];
  });
  const caller = incumbent['caller'];
  const retries = isObject(caller) ? caller['maxRetries'] : undefined;
  return { ...Object.fromEntries(given), ...(typeof retries === 'number' ? { maxRetries: retries } : {}) };
}

/** LangChain concludes things from names that look like OpenAI's; the request says the policy's own name in any case. */
function clientName(policy: string): string {
  return /codex|^gpt-|^o\d/.test(policy) ? 'policy' : policy;
}
