/** The one line that users change: a language model in, the same language model out, recorded and rerouted. */
import type { LanguageModel } from 'ai';
import type { AdapterHost } from '../../capture/adapter-host.ts';
import type { Recorder } from '../../capture/recorder.ts';
import { warnOnce } from '../../capture/warn-once.ts';
import { InvalidOptionError } from '../../errors.ts';
import { defaultProvider } from './default-provider.ts';
import { ModelCalls } from './model-calls.ts';
import {
  isLanguageModel,
  knownVersion,
  type CallOptions,
  type LanguageModelLike,
  type SpecificationVersion,
} from './specification.ts';

const wrapped = Symbol.for('apprentice.ai-sdk.wrapped');
const proxies = new WeakMap<Recorder, WeakMap<object, object>>();

/**
 * Wraps a language model of the AI SDK (specifications V2, V3, V4: `ai` 5, 6, 7). The result is a drop-in of the same
 * specification: it records each call and, once a policy is live, lets the policy answer. Anything that is no language
 * model, or of an unknown specification, is given back as it is, with one warning.
 *
 * Wrap the provider's model first and put your own middleware around the result, so that it also sees the policy.
 *
 * A string is looked up where the AI SDK looks it up, and throws InvalidOptionError where nothing is installed there.
 */
export function wrapModel<M extends object>(model: M, host: AdapterHost): M;
export function wrapModel(model: LanguageModel, host: AdapterHost): Exclude<LanguageModel, string>;
export function wrapModel(model: object | string, host: AdapterHost): object {
  if (typeof model === 'string') return wrapModel(lookUp(model), host);
  if (wrapped in model) {
    if (Reflect.get(model, wrapped) !== host.recorder)
      notWrapped('The model is already wrapped by another apprentice, which goes on recording it alone.');
    return model;
  }
  if (!isLanguageModel(model)) {
    notWrapped(
      'What was given to wrapModel is no language model of ai 5, 6 or 7 and passes through unrecorded.',
    );
    return model;
  }
  const version = knownVersion(model.specificationVersion);
  if (version === undefined) {
    const { specificationVersion } = model;
    notWrapped(`Language models of specification "${specificationVersion}" pass through unrecorded.`);
    return model;
  }
  return proxied(model, version, host.recorder);
}

function proxied(model: LanguageModelLike, version: SpecificationVersion, recorder: Recorder): object {
  let known = proxies.get(recorder);
  if (known === undefined) proxies.set(recorder, (known = new WeakMap()));
  let proxy = known.get(model);
  if (proxy === undefined) known.set(model, (proxy = makeProxy(model, version, recorder)));
  return proxy;
}

function makeProxy(model: LanguageModelLike, version: SpecificationVersion, recorder: Recorder): object {
  const calls = new ModelCalls(model, version, recorder);
  const generate = (options: CallOptions) => calls.generate(options);
  const stream = (options: CallOptions) => calls.stream(options);
  // A proxy must show a frozen property as it is: frozen models get a stand-in of the same class.
  const shell = Object.isFrozen(model)
    ? (Object.create(Object.getPrototypeOf(model) as object) as object)
    : model;
  return new Proxy(shell, {
    get(_, key) {
      // The AI SDK reads these three a dozen times for each call; a plain access is much faster than `Reflect.get`.
      if (key === 'provider') return model.provider;
      if (key === 'modelId') return model.modelId;
      if (key === 'specificationVersion') return model.specificationVersion;
      if (key === 'doGenerate') return generate;
      if (key === 'doStream') return stream;
      if (key === wrapped) return recorder;
      if (key === 'supportedUrls' && calls.mayReroute()) return {};
      // Read with the model as receiver: getters on classes with private fields fail on a proxy.
      const value: unknown = Reflect.get(model, key, model);
      return typeof value === 'function' && key !== 'constructor' ? (value.bind(model) as unknown) : value;
    },
    set: (_, key, value) => Reflect.set(model, key, value, model),
    has: (_, key) => key === wrapped || Reflect.has(model, key),
  });
}

function lookUp(id: string): object {
  const found = defaultProvider()?.languageModel?.(id);
  if (found !== undefined) return found;
  throw new InvalidOptionError({
    field: 'model',
    received: id,
    expected: 'a language model, or a name that an installed default provider knows',
    fix: 'Call installDefaultProvider(gateway, apprentice) with the gateway of "ai" first, or wrap gateway(name).',
  });
}

function notWrapped(message: string): void {
  warnOnce('APPRENTICE_NOT_WRAPPED', message);
}
