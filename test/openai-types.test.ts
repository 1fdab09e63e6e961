/** A wrapped client has the type of the bare one: `tsc` checks this file, and so it does for each major of `openai`. */
import type openai4 from 'openai4';
import type openai5 from 'openai5';
import type openai6 from 'openai6';
import type openai7 from 'openai7';
import { expectTypeOf, it } from 'vitest';
import { recordingFetch, wrapOpenAI, type AdapterHost } from '../src/adapters/openai/index.ts';

interface Clients {
  readonly v4: openai4;
  readonly v5: openai5;
  readonly v6: openai6;
  readonly v7: openai7;
}

/** Never called; only its types matter. */
function wrapAll(host: AdapterHost, { v4, v5, v6, v7 }: Clients) {
  return {
    v4: wrapOpenAI(v4, host),
    v5: wrapOpenAI(v5, host),
    v6: wrapOpenAI(v6, host),
    v7: wrapOpenAI(v7, host),
    fetch: recordingFetch(fetch, host),
  };
}

it('keeps the types of what it wraps', () => {
  expectTypeOf(wrapAll).parameter(0).toEqualTypeOf<AdapterHost>();
  type Wrapped = ReturnType<typeof wrapAll>;
  expectTypeOf<Wrapped['v4']>().toEqualTypeOf<openai4>();
  expectTypeOf<Wrapped['v5']>().toEqualTypeOf<openai5>();
  expectTypeOf<Wrapped['v6']>().toEqualTypeOf<openai6>();
  expectTypeOf<Wrapped['v7']>().toEqualTypeOf<openai7>();
  type FetchOf<C extends new (options: never) => object> = NonNullable<
    Exclude<ConstructorParameters<C>[0], undefined> extends { fetch?: infer F } ? F : never
  >;
  expectTypeOf<Wrapped['fetch']>().toExtend<FetchOf<typeof openai5>>();
  expectTypeOf<Wrapped['fetch']>().toExtend<FetchOf<typeof openai6>>();
  expectTypeOf<Wrapped['fetch']>().toExtend<FetchOf<typeof openai7>>();
});
