/** The judge contract: a model that is asked for JSON of a given schema. */
import type { Usage } from '../../trajectory/records.ts';

export interface JudgeMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface JudgeRequest {
  readonly messages: readonly JudgeMessage[];
  /** JSON Schema of the answer. */
  readonly schema: Readonly<Record<string, unknown>>;
  readonly schemaName: string;
  readonly signal: AbortSignal;
}

export interface JudgeAnswer {
  readonly text: string;
  /** The model stopped because it had no room left: what it wrote is not whole. */
  readonly truncated: boolean;
  readonly usage: Usage;
}

export interface Judge {
  /** In records, reports and the price table. */
  readonly model: string;
  readonly provider?: string;
  /** Throws JudgeError; AbortedError after `signal`. */
  ask(request: JudgeRequest): Promise<JudgeAnswer>;
}
