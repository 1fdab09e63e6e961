/** What the ChatOpenAI of a policy sends goes to the policy of the run around the call, and is recorded on the way. */
import { sharedStorage } from '../../../capture/shared-storage.ts';
import { currentRun } from '../../../capture/scope.ts';
import type { WireMessage } from '../../../capture/wire/messages.ts';
import { answerByPolicy } from '../../../capture/wire/policy.ts';
import type { WireBody } from '../../../capture/wire/policy-request.ts';
import { isObject } from '../shapes.ts';

/** Whose place the policy takes, for the record. */
export interface Replaced {
  readonly requestedModel: string;
  readonly provider?: string | undefined;
}

/** What the policy was asked, should it fail: the incumbent's call is then the same one, tried again. */
export interface Attempt {
  prompt?: readonly unknown[];
}

const attempts = sharedStorage<Attempt>('apprentice.langchain.attempt.1');

/** Runs `work`, which calls a policy, and keeps in `attempt` what it asks. */
export function attempting<T>(attempt: Attempt, work: () => T): T {
  return attempts.run(attempt, work);
}

/** A `fetch` for chat completions only. Rejects as `fetch` does, and with BackendUnavailableError. */
export function policyFetch({ requestedModel, provider }: Replaced) {
  return async (_: unknown, init: RequestInit | undefined): Promise<Response> => {
    const run = currentRun();
    if (run?.route.kind !== 'policy' || typeof init?.body !== 'string')
      throw new TypeError('A policy was called outside a run that has one.');
    const body = prepared(JSON.parse(init.body) as WireBody, requestedModel);
    const attempt = attempts.getStore();
    if (attempt !== undefined) attempt.prompt = body.messages;
    const signal = init.signal ?? undefined;
    const call = { run, adapter: 'langchain', body, signal, ...(provider === undefined ? {} : { provider }) };
    return answerByPolicy(call, run.route);
  };
}

/**
 * The request as every entry point of LangChain should have made it: agents name the answers in their history, on some
 * ways and not on others, and chat templates would show the names.
 */
function prepared(body: WireBody, model: string): WireBody {
  const { tools } = body;
  return {
    ...body,
    model,
    messages: body.messages.map(withoutName),
    ...(tools == null ? {} : { tools: tools.map(asFunction) }),
    ...(isNamedTool(body['tool_choice']) ? { tool_choice: asChoice(body['tool_choice']) } : {}),
  };
}

function withoutName(message: WireMessage): WireMessage {
  if (message.role !== 'assistant' || !('name' in message)) return message;
  const { name: _, ...rest } = message;
  return rest;
}

/** Tools that were bound in Anthropic's form, to a model of theirs, as functions. */
function asFunction(tool: unknown): unknown {
  if (!isObject(tool) || !isObject(tool['input_schema'])) return tool;
  const { name, description, input_schema: parameters } = tool;
  return {
    type: 'function',
    function: { name, ...(description === undefined ? {} : { description }), parameters },
  };
}

/** Anthropic's form of a tool that must be called. */
function isNamedTool(choice: unknown): choice is { readonly name: string } {
  return isObject(choice) && choice['type'] === 'tool' && typeof choice['name'] === 'string';
}

function asChoice({ name }: { readonly name: string }): object {
  return { type: 'function', function: { name } };
}
