/** A wrapped model has the type of the bare one: `tsc` checks this file, and so it does for each major of `ai`. */
import type { LanguageModelV2 } from 'ai-sdk-provider-v2';
import type { LanguageModelV3 } from 'ai-sdk-provider-v3';
import type { LanguageModelV4 } from 'ai-sdk-provider-v4';
import type * as ai5 from 'ai5';
import type * as ai6 from 'ai6';
import type * as ai7 from 'ai7';
import { expectTypeOf, it } from 'vitest';
import { wrapModel, wrapProvider, type AdapterHost } from '../src/adapters/ai-sdk/index.ts';

type ModelOf<F extends (options: never) => unknown> = Parameters<F>[0] extends { model: infer M } ? M : never;

/** Never called; only its types matter. */
function wrapAll(host: AdapterHost, v2: LanguageModelV2, v3: LanguageModelV3, v4: LanguageModelV4) {
  const callable = Object.assign((_id: string) => v3, { chat: (_id: string) => v4 });
  return {
    v2: wrapModel(v2, host),
    v3: wrapModel(v3, host),
    v4: wrapModel(v4, host),
    named: wrapModel('openai/gpt-5', host),
    provider: wrapProvider(callable, host),
  };
}

it('keeps the types of what it wraps', () => {
  expectTypeOf(wrapAll).parameter(0).toEqualTypeOf<AdapterHost>();
  type Wrapped = ReturnType<typeof wrapAll>;
  expectTypeOf<Wrapped['v2']>().toEqualTypeOf<LanguageModelV2>();
  expectTypeOf<Wrapped['v3']>().toEqualTypeOf<LanguageModelV3>();
  expectTypeOf<Wrapped['v4']>().toEqualTypeOf<LanguageModelV4>();
  expectTypeOf<Wrapped['named']>().toExtend<ModelOf<typeof ai7.generateText>>();
  expectTypeOf<Wrapped['v2']>().toExtend<ModelOf<typeof ai5.generateText>>();
  expectTypeOf<Wrapped['v3']>().toExtend<ModelOf<typeof ai6.streamText>>();
  expectTypeOf<Wrapped['v4']>().toExtend<ModelOf<typeof ai7.streamText>>();
  expectTypeOf<ReturnType<Wrapped['provider']>>().toEqualTypeOf<LanguageModelV3>();
  expectTypeOf<ReturnType<Wrapped['provider']['chat']>>().toEqualTypeOf<LanguageModelV4>();
});
