/** What is known about a base model: from its family, and from what the user said. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { InvalidOptionError } from '../../../errors.ts';
import { trainingEngines, type TrainingEngineName } from '../engines.ts';
import { modelFamilies, type ModelFamily } from './families.ts';

/** For models that the registry does not know, or to overrule it. Every part may be left out. */
export interface ModelOptions {
  /** vLLM's --tool-call-parser; null: the model calls no tools. Default: the family's, 'hermes' where it is unknown. */
  readonly toolCallParser?: string | null;
  /** vLLM's --reasoning-parser; null: the model does not think. */
  readonly reasoningParser?: string | null;
  /** Given to the chat template with every prompt; what a request gives goes first. */
  readonly chatTemplateKwargs?: Readonly<Record<string, unknown>>;
  /** Linear layers that get an adapter where a training job names none. Default: all but the head. */
  readonly loraTargets?: readonly string[];
  /** Longest prompt and answer together, tokens. Default: the family's, and never more than the model's own. */
  readonly contextLength?: number;
}

export interface ModelSettings {
  /** `unknown` where the registry has none. */
  readonly family: string;
  readonly toolCallParser: string | null;
  readonly reasoningParser: string | null;
  readonly chatTemplateKwargs: Readonly<Record<string, unknown>>;
  readonly loraTargets: readonly string[] | null;
  /** Undefined: the model's own. */
  readonly contextLength?: number;
  readonly trainers: readonly TrainingEngineName[];
  /** How many, where the name says so. */
  readonly parameters?: number;
  /** Of a folder whose config.json says so. */
  readonly attentionHeads?: number;
}

const config = z.looseObject({ model_type: z.string(), num_attention_heads: z.int().optional() });

/** Settings of a hub id or folder. Reads config.json of a folder; asks no network. */
export async function modelSettings(baseModel: string, given: ModelOptions = {}): Promise<ModelSettings> {
  const found = await configOf(baseModel);
  const attentionHeads = found?.num_attention_heads;
  return {
    ...settingsFor(baseModel, found?.model_type, given),
    ...(attentionHeads === undefined ? {} : { attentionHeads }),
  };
}

/** The same from facts alone. Pure. Throws InvalidOptionError for what no engine could honour. */
export function settingsFor(
  baseModel: string,
  modelType: string | undefined,
  given: ModelOptions = {},
): ModelSettings {
  const known = findFamily(baseModel, modelType);
  const parameters = parametersOf(baseModel);
  const contextLength = given.contextLength ?? known?.contextLength;
  if (given.loraTargets?.includes('lm_head') === true) {
    throw new InvalidOptionError({
      field: 'localBackend.model.loraTargets',
      received: given.loraTargets,
      expected: 'linear layers below the head',
      fix: 'Leave lm_head out: servers do not load adapters on it.',
    });
  }
  return {
    family: known?.family ?? 'unknown',
    toolCallParser:
      given.toolCallParser !== undefined
        ? given.toolCallParser
        : known === undefined
          ? 'hermes' // the form of most models, and the one that our own server reads
          : known.toolCallParser,
    reasoningParser:
      given.reasoningParser === undefined ? (known?.reasoningParser ?? null) : given.reasoningParser,
    chatTemplateKwargs: { ...known?.chatTemplateKwargs, ...given.chatTemplateKwargs },
    loraTargets: given.loraTargets ?? known?.loraTargets ?? null,
    ...(contextLength === undefined ? {} : { contextLength }),
    trainers: known?.trainers ?? trainingEngines,
    ...(parameters === undefined ? {} : { parameters }),
  };
}

/** The family that a model belongs to, by its name or else by `model_type` of its config.json. */
export function findFamily(baseModel: string, modelType?: string): ModelFamily | undefined {
  const name = lastPart(baseModel);
  return (
    modelFamilies.find((family) => family.names.test(name)) ??
    modelFamilies.find((family) => modelType !== undefined && family.modelTypes.includes(modelType))
  );
}

function lastPart(baseModel: string): string {
  return baseModel.split(/[\\/]/).findLast((part) => part !== '') ?? '';
}

/** `Qwen3-0.6B` → 6e8. A mixture of experts counts in full: `30B-A3B` → 3e10. */
function parametersOf(baseModel: string): number | undefined {
  const match = /(?:^|[-_])(\d+(?:\.\d+)?)([bm])(?:[-_]|$)/i.exec(lastPart(baseModel));
  if (match === null) return undefined;
  return Number(match[1]) * (match[2]?.toLowerCase() === 'b' ? 1e9 : 1e6);
}

async function configOf(baseModel: string): Promise<z.infer<typeof config> | undefined> {
  try {
    const text = await readFile(join(baseModel, 'config.json'), 'utf8');
    return config.safeParse(JSON.parse(text) as unknown).data;
  } catch {
    return undefined; // a hub id
  }
}
