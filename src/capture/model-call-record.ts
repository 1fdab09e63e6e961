/** A call that is over, or was left in the middle, as the record that is kept. */
import type { PriceBook } from '../pricing/price-book.ts';
import type { ModelCallId } from '../trajectory/ids.ts';
import type { CallOutcome, ModelCall } from '../trajectory/records.ts';
import type { SideCallFacts, SideCallRule } from './capture.ts';
import type { FaultCounter } from './faults.ts';
import type { RecordedCall } from './recorded-call.ts';
import { trainabilityOf } from './trainability.ts';

export interface RecordSettings {
  readonly faults: FaultCounter;
  readonly prices: PriceBook | undefined;
  readonly sideCall: SideCallRule | undefined;
}

export interface RecordParts {
  readonly call: RecordedCall;
  /** Its place among the events of the run. */
  readonly index: number;
  /** With which the run was given to whom it was given to. */
  readonly propensity: number;
  readonly settings: RecordSettings;
}

/** Reads what the adapter has left to be read; what cannot be read is left out and counted. */
export function modelCallOf({ call: draft, index, propensity, settings }: RecordParts): ModelCall {
  const { start, known, identity } = draft;
  const { answerer } = start;
  const { faults, prices, sideCall } = settings;
  const outcome: CallOutcome = draft.outcome ?? { status: 'abandoned' };
  const parameters = faults.guard('reading the parameters of a call', () => start.parameters(), {});
  const tokens: ModelCall['tokens'] =
    known.tokens === undefined
      ? null
      : {
          promptIds: known.tokens.promptIds as number[],
          completionIds: known.tokens.completionIds as number[],
          logprobs: known.tokens.logprobs as (number | null)[],
          logprobsMode: 'raw',
        };
  const policy = answerer.kind === 'policy' ? answerer.route.policy : null;
  const fallback = answerer.kind === 'incumbent' && answerer.fallback;
  const usage = known.usage ?? {};
  const served: SideCallFacts['served'] = {
    requestedModel: start.requestedModel,
    policy,
    propensity,
  };
  if (known.respondedModel !== undefined) served.respondedModel = known.respondedModel;
  if (start.provider !== undefined) served.provider = start.provider;
  if (identity?.baseDigest !== undefined) served.baseDigest = identity.baseDigest;
  if (identity?.tokenizerDigest !== undefined) served.tokenizerDigest = identity.tokenizerDigest;
  if (identity?.chatTemplateDigest !== undefined) served.chatTemplateDigest = identity.chatTemplateDigest;
  const { adapter } = start;
  const request = {
    messages: faults.guard('reading the messages of a call', () => start.messages(), []),
    tools: faults.guard('reading the tools of a call', () => start.tools(), []),
    parameters,
  } as ModelCall['request'];
  const isSideCall =
    draft.sideCall ||
    (sideCall !== undefined &&
      faults.guard('the rule for side calls', () => sideCall({ adapter, served, request }), false));
  const response: ModelCall['response'] = {
    message: faults.guard('reading the answer of a call', () => known.message?.() ?? null, null),
    usage: definedOnly(usage),
  };
  if (known.responseId !== undefined) response.id = known.responseId;
  if (known.finishReason !== undefined) response.finishReason = known.finishReason;
  const call: ModelCall = {
    kind: 'model-call',
    id: draft.id as ModelCallId,
    index,
    adapter,
    served,
    request,
    response,
    tokens,
    trainability: trainabilityOf({
      sideCall: isSideCall,
      policy,
      outcome,
      fallback,
      tokens,
      outputTokens: usage.outputTokens,
      temperature: parameters['temperature'],
      topP: parameters['top_p'],
    }),
    outcome,
    streamed: start.streamed,
    startedAt: draft.startedAt,
  };
  if (start.specification !== undefined) call.specification = start.specification;
  if (draft.retryOf !== undefined) call.retryOf = draft.retryOf as ModelCallId;
  if (draft.firstTokenAt !== undefined) call.firstTokenAt = draft.firstTokenAt;
  if (draft.endedAt !== undefined) call.endedAt = draft.endedAt;
  // What we serve ourselves has no price by the token.
  if (served.policy !== null) return call;
  const cost = prices?.costOf({
    models: [known.respondedModel ?? start.requestedModel, start.requestedModel],
    provider: start.provider,
    usage: response.usage,
    at: draft.startedAt,
  });
  if (cost !== undefined) call.cost = cost;
  return call;
}

/** Without the keys whose value is not known: records hold no undefined. */
function definedOnly<T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const known: Record<string, unknown> = {};
  for (const key in given) if (given[key] !== undefined) known[key] = given[key];
  return known as { [K in keyof T]?: Exclude<T[K], undefined> };
}
