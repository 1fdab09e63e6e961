/** The class that speaks to policies: ChatOpenAI, of the user's own copy. */
import { InvalidOptionError } from '../../../errors.ts';
import { methodOf, type ChatRunnable } from '../shapes.ts';

export type ChatOpenAIClass = new (fields: never) => object;

/** ChatOpenAI as the adapter makes it. */
export type Maker = new (fields: Readonly<Record<string, unknown>>) => ChatRunnable;

/** The incumbent's own ChatOpenAI, of which it may be a subclass as Azure's; else the installed one. */
export async function chatOpenAIFor(incumbent: ChatRunnable): Promise<Maker> {
  for (let at: unknown = Object.getPrototypeOf(incumbent); at !== null; at = Object.getPrototypeOf(at)) {
    if (Object.hasOwn(at as object, '_useResponsesApi'))
      return (at as { readonly constructor: Maker }).constructor;
  }
  try {
    const { ChatOpenAI } = await import('@langchain/openai');
    return ChatOpenAI as unknown as Maker;
  } catch (cause) {
    throw new InvalidOptionError({
      field: 'policy.ChatOpenAI',
      received: undefined,
      expected: 'the class ChatOpenAI of @langchain/openai, which calls policies',
      fix: 'Run `npm install @langchain/openai`, or give the class: wrapModel(model, apprentice, { policy: { ChatOpenAI } }).',
      cause,
    });
  }
}

/** Whether the model's class is one of those that speak OpenAI's dialect and read answers as ChatOpenAI does. */
export function isOfOpenAI(model: ChatRunnable): boolean {
  return methodOf(model, '_convertChatOpenAIToolToCompletionsTool') !== undefined;
}
