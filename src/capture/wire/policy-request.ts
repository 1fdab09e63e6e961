/** A client's chat completion request → what a policy is asked, in vLLM's OpenAI dialect. */
import { policyMessages, type RawArguments, type WireMessage } from './messages.ts';

/** The body of a chat completion request, parsed. What is not named here passes through. */
export interface WireBody {
  readonly model: string;
  readonly messages: readonly WireMessage[];
  readonly stream?: boolean | null;
  readonly tools?: readonly unknown[] | null;
  readonly logprobs?: boolean | null;
  readonly stream_options?: { readonly include_usage?: boolean | null } | null;
  readonly [key: string]: unknown;
}

/**
 * What is sampled where the caller says nothing. Said aloud, because a server may have other defaults, and tokens can
 * only be trained on where the policy's own distribution was sampled.
 */
export const wholeDistribution = { temperature: 1, top_p: 1 };

/** What makes a server say which tokens it read and sampled, how likely they were, and how many. */
export function askForTokens(stream: boolean): Readonly<Record<string, unknown>> {
  return {
    logprobs: true,
    return_token_ids: true,
    stream,
    ...(stream ? { stream_options: { include_usage: true } } : {}),
  };
}

/** Settings that a policy honours, as they are. */
const honoured = new Set([
  'temperature',
  'top_p',
  'seed',
  'stop',
  'n',
  'max_tokens',
  'max_completion_tokens',
  'response_format',
  'parallel_tool_calls',
  'chat_template_kwargs',
]);

/** What has a place of its own below, or means nothing to who answers: accounts, caching, storage, billing. */
const silent = new Set([
  'model',
  'messages',
  'tools',
  'tool_choice',
  'stream',
  'stream_options',
  'logprobs',
  'top_logprobs',
  'return_token_ids',
  'user',
  'metadata',
  'store',
  'service_tier',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
]);

export interface PolicyRequest {
  readonly body: Readonly<Record<string, unknown>>;
  /** What the caller asked for and no policy can honour, in words. */
  readonly leftOut: readonly string[];
}

/** The request for `model`, the name under which the policy is served; asks for token ids and log-probabilities. */
export function policyRequest(body: WireBody, model: string, raw: RawArguments): PolicyRequest {
  const { messages, leftOut } = policyMessages(body.messages, raw);
  const tools = (body.tools ?? []).filter(isFunctionTool);
  const given = Object.entries(body).filter(([, value]) => value != null);
  const unknown = given.flatMap(([name, value]) =>
    honoured.has(name) || silent.has(name) || value === 0 ? [] : [`the setting "${name}"`],
  );
  return {
    body: {
      model,
      messages,
      ...(tools.length === 0 ? {} : { tools, tool_choice: policyToolChoice(body['tool_choice']) }),
      ...policyParameters(body),
      ...askForTokens(body.stream === true),
    },
    leftOut: [
      ...leftOut,
      ...(tools.length === (body.tools ?? []).length ? [] : ['tools that are no functions']),
      ...unknown,
    ],
  };
}

/** The settings of a policy call, for the request and for the record. */
export function policyParameters(body: WireBody): Readonly<Record<string, unknown>> {
  const given = Object.entries(body).filter(([name, value]) => honoured.has(name) && value != null);
  return { ...wholeDistribution, ...Object.fromEntries(given) };
}

/** Every setting that the caller gave, for the record. */
export function givenParameters(body: WireBody): Readonly<Record<string, unknown>> {
  const { model: _model, messages: _messages, tools: _tools, stream: _stream, ...settings } = body;
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value != null));
}

/** Where there are tools, vLLM calls none unless it is told to; OpenAI's default is to choose. */
function policyToolChoice(choice: unknown): unknown {
  if (choice === 'none' || choice === 'required') return choice;
  const named =
    typeof choice === 'object' && choice !== null && 'type' in choice && choice.type === 'function';
  return named ? choice : 'auto';
}

function isFunctionTool(tool: unknown): boolean {
  return typeof tool === 'object' && tool !== null && 'type' in tool && tool.type === 'function';
}
