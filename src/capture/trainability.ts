import type { ModelCall, Trainability } from '../trajectory/records.ts';

export interface TrainabilityFacts {
  readonly sideCall: boolean;
  readonly policy: string | null;
  readonly outcome: ModelCall['outcome'];
  readonly fallback: boolean;
  readonly tokens: ModelCall['tokens'];
  readonly outputTokens: number | undefined;
  readonly temperature: unknown;
  readonly topP: unknown;
}

/** Whether a call can be trained on: only exactly what was sampled, from the policy's own distribution. */
export function trainabilityOf(facts: TrainabilityFacts): Trainability {
  const { tokens } = facts;
  if (facts.sideCall) return no('side-call');
  if (facts.fallback) return no('fallback');
  if (facts.policy === null) return no('incumbent');
  if (facts.outcome.status !== 'ok') return no('incomplete', facts.outcome.status);
  if (tokens === null || tokens.completionIds.length === 0) return no('no-token-ids');
  if (facts.outputTokens !== undefined && facts.outputTokens !== tokens.completionIds.length) {
    return no(
      'token-count-mismatch',
      `${String(tokens.completionIds.length)} ids, usage says ${String(facts.outputTokens)}`,
    );
  }
  if (tokens.logprobs.length !== tokens.completionIds.length || tokens.logprobs.includes(null))
    return no('no-logprobs');
  if (!isOne(facts.temperature)) return no('temperature-not-1', JSON.stringify(facts.temperature));
  if (!isOne(facts.topP)) return no('top-p-not-1', JSON.stringify(facts.topP));
  return { trainable: true };
}

/** Policies are sampled at 1 where the caller says nothing. */
function isOne(value: unknown): boolean {
  return value === undefined || value === null || value === 1;
}

function no(reason: Extract<Trainability, { trainable: false }>['reason'], detail?: string): Trainability {
  return detail === undefined ? { trainable: false, reason } : { trainable: false, reason, detail };
}
