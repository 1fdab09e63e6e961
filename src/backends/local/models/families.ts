/** Families of base models and what serves and trains them well. Data; `registry.ts` reads it. */
import type { TrainingEngineName } from '../engines.ts';

export interface ModelFamily {
  readonly family: string;
  /** Matches the last part of a hub id, or a folder's name. */
  readonly names: RegExp;
  /** `model_type` of config.json, for folders with other names. */
  readonly modelTypes: readonly string[];
  /** vLLM's --tool-call-parser; null: none reads this family's calls. */
  readonly toolCallParser: string | null;
  /** vLLM's --reasoning-parser; null: it does not think. */
  readonly reasoningParser: string | null;
  /** Given to the chat template with every prompt; what a request gives goes first. */
  readonly chatTemplateKwargs: Readonly<Record<string, unknown>>;
  /** Linear layers that get an adapter; null: all but the head. */
  readonly loraTargets: readonly string[] | null;
  /** Longest prompt and answer together that is served and trained, tokens; the model's own limit where lower. */
  readonly contextLength: number;
  readonly trainers: readonly TrainingEngineName[];
}

const attention = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];
const linear = [...attention, 'gate_proj', 'up_proj', 'down_proj'];
const every = ['transformers', 'torchtune', 'unsloth'] as const;
const withoutTorchtune = ['transformers', 'unsloth'] as const;

/** The first that matches by name counts, then the first by model type: special ones come before general ones. */
export const modelFamilies: readonly ModelFamily[] = [
  {
    family: 'Qwen3.5 and later',
    names: /^qwen3\.[5-9]/i,
    modelTypes: ['qwen3_5', 'qwen3_5_text', 'qwen3_5_moe', 'qwen3_next'],
    toolCallParser: 'qwen3_coder',
    reasoningParser: 'qwen3',
    chatTemplateKwargs: { enable_thinking: false },
    // Its linear-attention layers are adapted, too.
    loraTargets: [...linear, 'in_proj_qkv', 'in_proj_z', 'out_proj'],
    contextLength: 32_768,
    trainers: withoutTorchtune,
  },
  {
    family: 'Qwen3-Coder',
    names: /^qwen3-coder/i,
    modelTypes: [],
    toolCallParser: 'qwen3_coder',
    reasoningParser: null,
    chatTemplateKwargs: {},
    loraTargets: attention,
    contextLength: 32_768,
    trainers: withoutTorchtune,
  },
  {
    family: 'Qwen3-Thinking-2507',
    names: /^qwen3-.*thinking/i,
    modelTypes: [],
    toolCallParser: 'hermes',
    reasoningParser: 'qwen3',
    chatTemplateKwargs: {},
    loraTargets: linear,
    contextLength: 32_768,
    trainers: every,
  },
  {
    family: 'Qwen3-Instruct-2507',
    names: /^qwen3-.*instruct/i,
    modelTypes: [],
    toolCallParser: 'hermes',
    reasoningParser: null,
    chatTemplateKwargs: {},
    loraTargets: linear,
    contextLength: 32_768,
    trainers: every,
  },
  {
    family: 'Qwen3 mixture of experts',
    names: /^qwen3-\d+b-a\d+b/i,
    modelTypes: ['qwen3_moe'],
    toolCallParser: 'hermes',
    reasoningParser: 'qwen3',
    chatTemplateKwargs: { enable_thinking: false },
    loraTargets: attention,
    contextLength: 32_768,
    trainers: withoutTorchtune,
  },
  {
    family: 'Qwen3',
    names: /^qwen3-/i,
    modelTypes: ['qwen3'],
    toolCallParser: 'hermes',
    reasoningParser: 'qwen3',
    // It thinks unless told not to; earlier thoughts are dropped from the next prompt, which then cannot be appended to.
    chatTemplateKwargs: { enable_thinking: false },
    loraTargets: linear,
    contextLength: 32_768,
    trainers: every,
  },
  {
    family: 'Qwen2.5-Coder',
    names: /^qwen2\.5-coder/i,
    modelTypes: [],
    // It writes calls in a form of its own that hermes misses without a word.
    toolCallParser: null,
    reasoningParser: null,
    chatTemplateKwargs: {},
    loraTargets: linear,
    contextLength: 32_768,
    trainers: every,
  },
  {
    family: 'Qwen2.5',
    names: /^qwen2(\.5)?-/i,
    modelTypes: ['qwen2'],
    toolCallParser: 'hermes',
    reasoningParser: null,
    chatTemplateKwargs: {},
    loraTargets: linear,
    contextLength: 32_768,
    trainers: every,
  },
  {
    family: 'Llama 3',
    names: /^(meta-)?llama-3/i,
    modelTypes: [],
    toolCallParser: 'llama3_json',
    reasoningParser: null,
    chatTemplateKwargs: {},
    loraTargets: linear,
    contextLength: 32_768,
    trainers: every,
  },
  {
    family: 'SmolLM2',
    names: /^smollm2?-/i,
    modelTypes: [],
    toolCallParser: 'hermes',
    reasoningParser: null,
    chatTemplateKwargs: {},
    loraTargets: linear,
    contextLength: 8192,
    trainers: every,
  },
  {
    family: 'Mistral',
    names: /^(mistral|ministral)-/i,
    modelTypes: ['mistral'],
    toolCallParser: 'mistral',
    reasoningParser: null,
    chatTemplateKwargs: {},
    loraTargets: linear,
    contextLength: 32_768,
    trainers: every,
  },
  {
    family: 'Gemma 4',
    names: /^gemma-4/i,
    modelTypes: ['gemma4', 'gemma4_text'],
    toolCallParser: 'gemma4',
    reasoningParser: 'gemma4',
    chatTemplateKwargs: {},
    loraTargets: linear,
    contextLength: 32_768,
    trainers: withoutTorchtune,
  },
  {
    family: 'gpt-oss',
    names: /^gpt-oss/i,
    modelTypes: ['gpt_oss'],
    toolCallParser: 'openai',
    reasoningParser: 'openai_gptoss',
    chatTemplateKwargs: {},
    loraTargets: attention,
    contextLength: 32_768,
    trainers: withoutTorchtune,
  },
];
