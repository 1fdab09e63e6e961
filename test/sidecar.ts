/** An apprentice on the real sidecar with the tiny model, for end-to-end tests. */
import {
  ensureEnvironment,
  localBackend,
  tinyModelFolder,
  type ServingEngineName,
} from '../src/backends/local/index.ts';
import { createApprentice, type Apprentice } from '../src/index.ts';
import { freshFolder } from './recording.ts';

/**
 * `environment`: the interpreter of the sidecar; default: the tests' own environment. `serving`: default 'transformers';
 * vLLM comes from an environment that is installed when first used.
 */
export async function trainingApprentice(
  folder?: string,
  environment?: string,
  serving: ServingEngineName = 'transformers',
): Promise<{ apprentice: Apprentice; folder: string }> {
  const python = environment ?? (await ensureEnvironment({ dev: true })).python;
  const used = folder ?? (await freshFolder());
  const apprentice = createApprentice({
    project: 'test',
    name: 'tiny',
    baseModel: tinyModelFolder(),
    backend: localBackend({ environment: python, serving }),
    folder: used,
  });
  return { apprentice, folder: used };
}

/** Stands where the user's own model would: must never be asked in training. */
export const neverAsked = {
  specificationVersion: 'v4',
  provider: 'test',
  modelId: 'incumbent',
  supportedUrls: {},
  doGenerate: () => Promise.reject(new Error('The incumbent was asked in training.')),
  doStream: () => Promise.reject(new Error('The incumbent was asked in training.')),
};
