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
import { standInFor } from './stand-in.ts';

const wrapped = Symbol.for('apprentice.ai-sdk.wrapped');
const standIns = new WeakMap<Recorder, WeakMap<object, object>>();

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
  return standIn(model, version, host.recorder);
}

function standIn(model: LanguageModelLike, version: SpecificationVersion, recorder: Recorder): object {
  let known = standIns.get(recorder);
  if (known === undefined) standIns.set(recorder, (known = new WeakMap()));
  let made = known.get(model);
  if (made === undefined) known.set(model, (made = makeStandIn(model, version, recorder)));
  return made;
}

function makeStandIn(model: LanguageModelLike, version: SpecificationVersion, recorder: Recorder): object {
  const calls = new ModelCalls(model, version, recorder);
  const generate = (options: CallOptions) => calls.generate(options);
  const stream = (options: CallOptions) => calls.stream(options);
  return standInFor(
    model,
    new Map<PropertyKey, () => unknown>([
      ['doGenerate', () => generate],
      ['doStream', () => stream],
      [wrapped, () => recorder],
      ['supportedUrls', () => (calls.mayReroute() ? {} : model.supportedUrls)],
    ]),
  );
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
