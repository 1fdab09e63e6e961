/** What is reported of a call on the user's own model: one object for each. Its methods are read when it is recorded. */
import type { CallStart, FoundToolResult } from '../../capture/capture.ts';
import type { Answerer } from '../../capture/route.ts';
import type { ActiveRun } from '../../capture/run.ts';
import type { Message } from '../../trajectory/records.ts';
import { toMessages, toTools } from './messages.ts';
import { givenParameters, type Parameters } from './parameters.ts';
import type { CallOptions, LanguageModelLike } from './specification.ts';
import { newToolResults } from './tool-results.ts';

type ByIncumbent = Extract<Answerer, { kind: 'incumbent' }>;

export const incumbent: ByIncumbent = { kind: 'incumbent', fallback: false };
/** In the place of a policy that failed. */
export const incumbentInstead: ByIncumbent = { kind: 'incumbent', fallback: true };

interface CallParts {
  readonly run: ActiveRun;
  readonly model: LanguageModelLike;
  readonly options: CallOptions;
  readonly answerer: ByIncumbent;
  readonly streamed: boolean;
}

export class IncumbentCall implements CallStart, CallParts {
  readonly adapter = 'ai-sdk';
  // As the model says it when it is asked: one that passes calls on to others says something else the next time.
  readonly specification: string;
  readonly requestedModel: string;
  readonly provider: string;
  readonly run: ActiveRun;
  readonly model: LanguageModelLike;
  readonly options: CallOptions;
  readonly answerer: ByIncumbent;
  readonly streamed: boolean;

  constructor(parts: CallParts) {
    const { model } = parts;
    this.specification = model.specificationVersion;
    this.requestedModel = model.modelId;
    this.provider = model.provider;
    this.run = parts.run;
    this.model = model;
    this.options = parts.options;
    this.answerer = parts.answerer;
    this.streamed = parts.streamed;
  }

  get prompt(): CallOptions['prompt'] {
    return this.options.prompt;
  }

  messages(): readonly Message[] {
    return toMessages(this.options.prompt, this.run.rawArguments);
  }

  tools(): readonly unknown[] {
    return toTools(this.options.tools);
  }

  parameters(): Parameters {
    return givenParameters(this.options);
  }

  toolResults(): readonly FoundToolResult[] {
    return newToolResults(this.options.prompt, this.run.rawArguments);
  }
}
