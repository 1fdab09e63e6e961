/** What happens to each call on a wrapped model: its run, its route, its record. */
import { CallLayer } from '../../capture/scope.ts';
import type { CallAnswer } from '../../capture/capture.ts';
import type { PolicyRoute } from '../../capture/route.ts';
import type { Recorder } from '../../capture/recorder.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { tapStreamAs } from '../../capture/stream-tap.ts';
import { chunkedAnswer, eventAnswer, wholeAnswer } from './answers.ts';
import { IncumbentRecord, signalOf } from './incumbent.ts';
import { inputMessages } from './messages.ts';
import { lateIterator, scopedIterator, tapIterator } from './iterators.ts';
import { attempting, type Attempt } from './policy/fetch.ts';
import { applied, PolicyModel, type Operation, type PolicySettings } from './policy/model.ts';
import { graphRunsOf } from './runs.ts';
import { isChatModel, isObject, methodOf, type ChatRunnable, type MessageLike } from './shapes.ts';
import { noteToolResults } from './tool-results.ts';

type Given = readonly unknown[];

export interface WrappedModel {
  /** What answers as the incumbent. */
  readonly target: ChatRunnable;
  /** The model that was given to `wrapModel`. */
  readonly root: ChatRunnable;
  /** How `target` was made from `root`: repeated on a policy. */
  readonly operations: readonly Operation[];
  readonly recorder: Recorder;
  /** Whether a policy may answer. */
  readonly reroute: boolean;
  readonly policy: PolicySettings;
}

/** The streams below `stream`. */
type Iterated = '_streamIterator' | '_streamResponseChunks' | '_streamChatModelEvents';

/** Reads the answer out of what a streamed call has given so far. */
type Reader<T> = (run: ActiveRun, parts: readonly T[]) => CallAnswer;

const readers: Readonly<Record<Iterated, Reader<never>>> = {
  _streamIterator: chunkedAnswer,
  _streamResponseChunks: (run, parts: readonly { readonly message: MessageLike }[]) =>
    chunkedAnswer(
      run,
      parts.map((part) => part.message),
    ),
  _streamChatModelEvents: eventAnswer,
};

export class ModelCalls {
  readonly #layer = new CallLayer();
  readonly #wrapped: WrappedModel;
  readonly #policy: PolicyModel;

  constructor(wrapped: WrappedModel) {
    const { root, operations, policy } = wrapped;
    this.#wrapped = wrapped;
    this.#policy = new PolicyModel({ root, operations, settings: policy });
  }

  invoke(given: Given): Promise<unknown> {
    return this.#once('invoke', given, (result) => result as MessageLike);
  }

  /** `_generate`: one prompt, with its answer among others that nobody uses. */
  generateOne(given: Given): Promise<unknown> {
    return this.#once('_generate', given, (result) => {
      const { generations } = result as { generations: readonly { readonly message: MessageLike }[] };
      return generations[0]?.message ?? {};
    });
  }

  /** `generate` and `generatePrompt`: several prompts at once, each a call of its own. */
  async generateMany(name: 'generate' | 'generatePrompt', given: Given): Promise<unknown> {
    const { target } = this.#wrapped;
    const [prompts, options] = given as [readonly unknown[], unknown];
    const [input] = prompts;
    const answer = (model: ChatRunnable) => call(model, name, given) as Promise<Generations>;
    const run = this.#begin(input, options);
    if (run === undefined) return answer(target);
    const fallback = await this.#byPolicy(run, options, answer);
    if (fallback.kind === 'answered') return fallback.answer;
    const records = prompts.map((prompt) => this.#record(run, prompt, options, false, fallback.failed));
    try {
      const result = await this.#layer.answer(inputMessages(input), () => answer(target));
      records.forEach((record, index) =>
        record?.ok(() => wholeAnswer(run, result.generations[index]?.[0]?.message ?? {})),
      );
      return result;
    } catch (error) {
      for (const record of records) record?.failed(error);
      throw error;
    }
  }

  async stream(given: Given): Promise<unknown> {
    const { target } = this.#wrapped;
    const [input, options] = given;
    const answer = (model: ChatRunnable) =>
      call(model, 'stream', given) as Promise<ReadableStream<MessageLike>>;
    const run = this.#begin(input, options);
    if (run === undefined) return answer(target);
    const fallback = await this.#byPolicy(run, options, answer);
    if (fallback.kind === 'answered') return fallback.answer;
    const record = this.#record(run, input, options, true, fallback.failed);
    try {
      const stream = await this.#layer.answer(inputMessages(input), () => answer(target));
      if (record === undefined) return stream;
      // LangChain's own class of streams, whichever copy of it.
      const Class = stream.constructor as typeof ReadableStream<MessageLike>;
      return tapStreamAs(Class, stream, watch(record, run, chunkedAnswer));
    } catch (error) {
      record?.failed(error);
      throw error;
    }
  }

  /** The streams below `stream`: chains and LangGraph ask for them. */
  iterate(name: Iterated, given: Given, target = this.#wrapped.target): AsyncGenerator {
    const [input, options] = given;
    const answer = (model: ChatRunnable) => call(model, name, given) as AsyncIterator<never>;
    return lateIterator(async () => {
      const run = this.#begin(input, options);
      if (run === undefined) return answer(target);
      const fallback = await this.#byPolicy(run, options, async (model) => {
        const source = answer(model);
        return scopedIterator(source, (work) => run.scope(work), await source.next());
      });
      if (fallback.kind === 'answered') return fallback.answer;
      const record = this.#record(run, input, options, true, fallback.failed);
      const prompt = inputMessages(input);
      const source = scopedIterator(answer(target), (work) => this.#layer.answer(prompt, work));
      return record === undefined ? source : tapIterator(source, watch(record, run, readers[name]));
    });
  }

  /**
   * What `withStructuredOutput` gives: a chain that ends in a parser. A provider's class reads its own answers there,
   * which is not what a policy gives; on a policy, the chain is that of the policy's class.
   */
  structured(chain: ChatRunnable, made: Given): object {
    const answer = async (name: string, given: Given): Promise<unknown> => {
      const [input, options] = given;
      const run = this.#begin(input, options);
      if (run?.route.kind !== 'policy') return call(chain, name, given);
      const fallback = await this.#byPolicy(run, options, (model) =>
        Promise.resolve(call(applied(model, { name: 'withStructuredOutput', given: made }), name, given)),
      );
      return fallback.kind === 'answered' ? fallback.answer : call(chain, name, given);
    };
    const methods = new Map<PropertyKey, unknown>(
      ['invoke', 'stream', 'batch'].map((name) => [name, (...given: Given) => answer(name, given)]),
    );
    return new Proxy(chain, {
      get: (_, key) => methods.get(key) ?? (Reflect.get(chain, key, chain) as unknown),
    });
  }

  /** `streamEvents` in its third version: LangChain's own code, on a stream of events that is watched. */
  events(name: 'streamEvents' | 'streamV2', given: Given): unknown {
    const { target } = this.#wrapped;
    return methodOf(target, name)?.apply(this.#withEvents(target), [...given]);
  }

  #withEvents(model: ChatRunnable): object {
    if (!isChatModel(model) && isObject(model['bound']))
      return Object.create(model, {
        bound: { value: this.#withEvents(model['bound'] as ChatRunnable) },
      }) as object;
    const value = (...given: Given) => this.iterate('_streamChatModelEvents', given, model);
    return Object.create(model, { _streamChatModelEvents: { value } }) as object;
  }

  async #once(
    name: 'invoke' | '_generate',
    given: Given,
    messageOf: (result: unknown) => MessageLike,
  ): Promise<unknown> {
    const { target } = this.#wrapped;
    const [input, options] = given;
    const answer = (model: ChatRunnable) => call(model, name, given) as Promise<unknown>;
    const run = this.#begin(input, options);
    if (run === undefined) return answer(target);
    const fallback = await this.#byPolicy(run, options, answer);
    if (fallback.kind === 'answered') return fallback.answer;
    const record = this.#record(run, input, options, false, fallback.failed);
    try {
      const result = await this.#layer.answer(inputMessages(input), () => answer(target));
      record?.ok(() => wholeAnswer(run, messageOf(result)));
      return result;
    } catch (error) {
      record?.failed(error);
      throw error;
    }
  }

  /**
   * The run that this call belongs to; undefined where a layer above has taken the call, or recording itself fails: the
   * call then goes its way alone.
   */
  #begin(input: unknown, options: unknown): ActiveRun | undefined {
    if (this.#layer.isInsideCall()) return undefined;
    const { recorder } = this.#wrapped;
    const run = recorder.faults.guard(
      'opening a run',
      () => graphRunsOf(recorder).of(options, input),
      undefined,
    );
    run?.guard(
      'recording tool results',
      () => {
        noteToolResults(run, input);
      },
      undefined,
    );
    return run;
  }

  /** Lets the policy answer, where the run has one; tells whether the incumbent has to. */
  async #byPolicy<T>(
    run: ActiveRun,
    options: unknown,
    answer: (model: ChatRunnable) => Promise<T>,
  ): Promise<
    | { readonly kind: 'answered'; readonly answer: T }
    | { readonly kind: 'incumbent'; readonly failed?: Attempt }
  > {
    const { route } = run;
    if (route.kind === 'incumbent' || !this.#wrapped.reroute) return { kind: 'incumbent' };
    const signal = signalOf(options);
    const attempt: Attempt = {};
    try {
      const model = await this.#policy.of(route);
      const asked = () => attempting(attempt, () => answer(model));
      return { kind: 'answered', answer: await run.scope(asked) };
    } catch (error) {
      if (!mayFallBack(route, signal)) throw error;
      return { kind: 'incumbent', failed: attempt };
    }
  }

  #record(
    run: ActiveRun,
    input: unknown,
    options: unknown,
    streamed: boolean,
    failed: Attempt | undefined,
  ): IncumbentRecord | undefined {
    const { target: model } = this.#wrapped;
    return run.guard(
      'recording a call',
      () =>
        new IncumbentRecord({
          run,
          model,
          input,
          options,
          streamed,
          ...(failed === undefined ? {} : { failed }),
        }),
      undefined,
    );
  }
}

interface Generations {
  readonly generations: readonly (readonly { readonly message: MessageLike }[])[];
}

function call(model: ChatRunnable, name: string, given: Given): unknown {
  const method = methodOf(model, name);
  if (method === undefined) throw new TypeError(`The model has no method ${name}.`);
  return method.apply(model, [...given]);
}

function watch<T>(record: IncumbentRecord, run: ActiveRun, read: Reader<T>) {
  const parts: T[] = [];
  const answer = () => read(run, parts);
  record.partial(answer);
  return {
    part: (part: T) => {
      if (parts.length === 0) record.firstPart();
      parts.push(part);
    },
    end: (how: Parameters<IncumbentRecord['streamEnded']>[0]) => {
      record.streamEnded(how, answer);
    },
  };
}

/** In production the incumbent answers for a policy that cannot; in training such an answer would be a lie. */
function mayFallBack(route: PolicyRoute, signal: AbortSignal | undefined): boolean {
  return route.onFailure === 'incumbent' && signal?.aborted !== true;
}
