/** The one line that users change: a language model in, the same language model out, recorded and rerouted. */
import type { Recorder } from '../../capture/recorder.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { generateByIncumbent, streamByIncumbent } from './incumbent.ts';
import { toolResults, outputText } from './messages.ts';
import { generateByPolicy, streamByPolicy, type PolicyCall } from './policy/call.ts';
import {
  isLanguageModel,
  knownVersion,
  type CallOptions,
  type LanguageModelLike,
  type SpecificationVersion,
} from './specification.ts';

/** What the adapter needs of an apprentice. */
export interface AdapterHost {
  readonly recorder: Recorder;
}

const wrapped = Symbol.for('apprentice.ai-sdk.wrapped');
const warned = new Set<string>();

/**
 * Wraps a language model of the AI SDK (specifications V2, V3, V4: `ai` 5, 6, 7). The result is a drop-in of the same
 * specification: it records each call and, once a policy is live, lets the policy answer. Anything that is no language
 * model, or of an unknown specification, is given back as it is, with one warning.
 *
 * Wrap the provider's model first and put your own middleware around the result, so that it also sees the policy.
 */
export function wrapModel<M extends object>(model: M, host: AdapterHost): M {
  if (!isLanguageModel(model) || wrapped in model) return model;
  const version = knownVersion(model.specificationVersion);
  if (version === undefined) {
    warnOnce(model.specificationVersion);
    return model;
  }
  return proxied(model, version, host);
}

function proxied<M extends object>(
  model: M & LanguageModelLike,
  version: SpecificationVersion,
  host: AdapterHost,
): M {
  const calls = new ModelCalls(model, version, host.recorder);
  const generate = (options: CallOptions) => calls.generate(options);
  const stream = (options: CallOptions) => calls.stream(options);
  return new Proxy(model, {
    get(target, key) {
      if (key === 'doGenerate') return generate;
      if (key === 'doStream') return stream;
      // Read with the target as receiver: getters on classes with private fields fail on a proxy.
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
    has: (target, key) => key === wrapped || Reflect.has(target, key),
  });
}

class ModelCalls {
  readonly #model: LanguageModelLike;
  readonly #version: SpecificationVersion;
  readonly #recorder: Recorder;

  constructor(model: LanguageModelLike, version: SpecificationVersion, recorder: Recorder) {
    this.#model = model;
    this.#version = version;
    this.#recorder = recorder;
  }

  async generate(options: CallOptions) {
    const run = this.#begin(options);
    if (run === undefined) return this.#model.doGenerate(options);
    const policy = this.#policyCall(run, options);
    if (policy === undefined)
      return generateByIncumbent({ run, model: this.#model, options, fallback: false });
    try {
      return await generateByPolicy(policy);
    } catch (error) {
      if (!mayFallBack(policy)) throw error;
      return generateByIncumbent({ run, model: this.#model, options, fallback: true });
    }
  }

  async stream(options: CallOptions) {
    const run = this.#begin(options);
    if (run === undefined) return this.#model.doStream(options);
    const policy = this.#policyCall(run, options);
    if (policy === undefined) return streamByIncumbent({ run, model: this.#model, options, fallback: false });
    try {
      return await streamByPolicy(policy);
    } catch (error) {
      if (!mayFallBack(policy)) throw error;
      return streamByIncumbent({ run, model: this.#model, options, fallback: true });
    }
  }

  /** The run that this call belongs to; undefined where recording itself fails: the call then goes its way alone. */
  #begin(options: CallOptions): ActiveRun | undefined {
    const { faults } = this.#recorder;
    const run = faults.guard(
      'opening a run',
      () => this.#recorder.current() ?? this.#recorder.startLoneRun(),
      undefined,
    );
    if (run !== undefined) {
      faults.guard(
        'recording tool results',
        () => {
          noteToolResults(run, options);
        },
        undefined,
      );
    }
    return run;
  }

  #policyCall(run: ActiveRun, options: CallOptions): PolicyCall | undefined {
    if (run.route.kind !== 'policy') return undefined;
    return { run, route: run.route, model: this.#model, version: this.#version, options };
  }
}

/** The results of tools stand in the prompt of the next call. */
function noteToolResults(run: ActiveRun, options: CallOptions): void {
  for (const part of toolResults(options.prompt)) {
    const failed = part.output?.type.startsWith('error') === true;
    run.toolResult({
      toolCallId: part.toolCallId ?? '',
      toolName: part.toolName ?? '',
      output: outputText(part.output),
      effect: 'unknown',
      ...(failed ? { error: outputText(part.output) } : {}),
    });
  }
}

/** In production the incumbent answers for a policy that cannot; in training such an answer would be a lie. */
function mayFallBack(call: PolicyCall): boolean {
  return call.route.onFailure === 'incumbent' && call.options.abortSignal?.aborted !== true;
}

function warnOnce(version: string): void {
  if (warned.has(version)) return;
  warned.add(version);
  process.emitWarning(
    `apprentice: language models of specification "${version}" are not known and pass through unrecorded.`,
    { code: 'APPRENTICE_UNKNOWN_SPECIFICATION' },
  );
}
