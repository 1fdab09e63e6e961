/** What happens to each call on a wrapped model: its run, its route, its record. */
import { CallLayer } from '../../capture/scope.ts';
import type { Recorder } from '../../capture/recorder.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { generateByIncumbent, streamByIncumbent } from './incumbent.ts';
import { incumbent, incumbentInstead, IncumbentCall } from './incumbent-call.ts';
import { generateByPolicy, streamByPolicy, type PolicyCall } from './policy/call.ts';
import type {
  CallOptions,
  GenerateResult,
  LanguageModelLike,
  SpecificationVersion,
  StreamResult,
} from './specification.ts';

/** Who may answer a call, one of `doGenerate` or of `doStream`. */
interface Ways<T> {
  readonly streamed: boolean;
  readonly bare: (model: LanguageModelLike, options: CallOptions) => PromiseLike<T>;
  readonly byPolicy: (call: PolicyCall) => Promise<T>;
  readonly byIncumbent: (call: IncumbentCall) => PromiseLike<T>;
}

const toGenerate: Ways<GenerateResult> = {
  streamed: false,
  bare: (model, options) => model.doGenerate(options),
  byPolicy: generateByPolicy,
  byIncumbent: generateByIncumbent,
};

const toStream: Ways<StreamResult> = {
  streamed: true,
  bare: (model, options) => model.doStream(options),
  byPolicy: streamByPolicy,
  byIncumbent: streamByIncumbent,
};

export class ModelCalls {
  readonly #layer = new CallLayer();
  readonly #model: LanguageModelLike;
  readonly #version: SpecificationVersion;
  readonly #recorder: Recorder;

  constructor(model: LanguageModelLike, version: SpecificationVersion, recorder: Recorder) {
    this.#model = model;
    this.#version = version;
    this.#recorder = recorder;
  }

  generate(options: CallOptions): PromiseLike<GenerateResult> {
    return this.#answer(options, toGenerate);
  }

  stream(options: CallOptions): PromiseLike<StreamResult> {
    return this.#answer(options, toStream);
  }

  /** Whether a policy would answer a call that is made here and now. */
  mayReroute(): boolean {
    const { faults } = this.#recorder;
    return faults.guard('choosing a route', () => this.#recorder.route.kind === 'policy', false);
  }

  /** Without async functions on the way to the incumbent: each would cost the caller turns of its microtask queue. */
  #answer<T>(options: CallOptions, ways: Ways<T>): PromiseLike<T> {
    const model = this.#model;
    const layer = this.#layer;
    // A model wrapped twice, with middleware between, is recorded once.
    if (layer.isAnswering(options.prompt)) return ways.bare(model, options);
    const run = this.#run();
    if (run === undefined) return ways.bare(model, options);
    return layer.isAlone
      ? this.#answerIn(run, options, ways)
      : layer.answer(options.prompt, () => this.#answerIn(run, options, ways));
  }

  #answerIn<T>(run: ActiveRun, options: CallOptions, ways: Ways<T>): PromiseLike<T> {
    const { route } = run;
    const model = this.#model;
    const { streamed } = ways;
    return route.kind === 'incumbent'
      ? ways.byIncumbent(new IncumbentCall({ run, model, options, answerer: incumbent, streamed }))
      : this.#byPolicy(run, route, options, ways);
  }

  async #byPolicy<T>(
    run: ActiveRun,
    route: PolicyCall['route'],
    options: CallOptions,
    ways: Ways<T>,
  ): Promise<T> {
    const model = this.#model;
    const call = { run, route, model, version: this.#version, options };
    try {
      return await ways.byPolicy(call);
    } catch (error) {
      if (!mayFallBack(call)) throw error;
      const { streamed } = ways;
      return ways.byIncumbent(
        new IncumbentCall({ run, model, options, answerer: incumbentInstead, streamed }),
      );
    }
  }

  /** The run that this call belongs to; undefined where recording itself fails: the call then goes its way alone. */
  #run(): ActiveRun | undefined {
    const recorder = this.#recorder;
    try {
      return recorder.current() ?? recorder.startLoneRun();
    } catch (error) {
      recorder.faults.count('opening a run', error);
      return undefined;
    }
  }
}

/** In production the incumbent answers for a policy that cannot; in training such an answer would be a lie. */
function mayFallBack(call: PolicyCall): boolean {
  return call.route.onFailure === 'incumbent' && call.options.abortSignal?.aborted !== true;
}
