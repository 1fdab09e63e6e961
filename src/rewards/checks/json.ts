import { codeReward } from '../code-reward.ts';
import type { RewardFunction, Scenario } from '../reward.ts';
import { defaultSubject, type Subject } from './subject.ts';

/** A schema of zod, valibot, arktype or any other that speaks Standard Schema (standardschema.dev). */
export interface StandardSchemaLike {
  readonly '~standard': {
    readonly validate: (value: unknown) => SchemaResult | Promise<SchemaResult>;
  };
}

interface SchemaResult {
  readonly issues?: readonly { readonly message: string }[] | undefined;
}

/** 1 where the answer is JSON and, with a schema, fits it; else 0, with the reason. */
export function validJson<S extends Scenario = never, R = never>(
  options: {
    readonly name?: string;
    readonly schema?: StandardSchemaLike;
    readonly actual?: Subject<S, R>;
  } = {},
): RewardFunction<S, R> {
  const { name = 'valid-json', schema, actual = defaultSubject } = options;
  return codeReward(name, async (input) => {
    let value: unknown;
    try {
      value = JSON.parse(actual(input));
    } catch (error) {
      return { value: 0, explanation: String(error) };
    }
    const { issues } = (await schema?.['~standard'].validate(value)) ?? {};
    if (issues === undefined) return { value: 1 };
    return { value: 0, explanation: issues.map((issue) => issue.message).join('; ') };
  });
}
