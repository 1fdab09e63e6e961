/** Step 0 of a model: a LoRA whose B is 0, in PEFT's files, for every linear layer of the base model but its head. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const header = z.record(z.string(), z.looseObject({ shape: z.array(z.int()).optional() }));
const linear = /^(?:model\.)?layers\.\d+\..*?([a-z_]+_proj)\.weight$/;

/** PEFT's two files. Reads the shapes off the base model's own file; a hub id, or a model in parts, gets an empty one. */
export async function identityAdapter(baseModel: string, rank: number): Promise<Record<string, Uint8Array>> {
  const shapes = await linearLayers(join(baseModel, 'model.safetensors'));
  const tensors = shapes.flatMap(({ name, inputs, outputs }) => [
    { name: `base_model.model.${name}.lora_A.weight`, shape: [rank, inputs] },
    { name: `base_model.model.${name}.lora_B.weight`, shape: [outputs, rank] },
  ]);
  const config = {
    base_model_name_or_path: baseModel,
    bias: 'none',
    inference_mode: true,
    lora_alpha: 2 * rank,
    lora_dropout: 0,
    peft_type: 'LORA',
    r: rank,
    target_modules: [...new Set(shapes.map((one) => one.module))].sort(),
    task_type: 'CAUSAL_LM',
  };
  return {
    'adapter_config.json': Buffer.from(JSON.stringify(config, null, 1)),
    'adapter_model.safetensors': zeros(tensors),
  };
}

async function linearLayers(
  file: string,
): Promise<{ name: string; module: string; inputs: number; outputs: number }[]> {
  const bytes = await readFile(file).catch(() => undefined);
  if (bytes === undefined) return [];
  const length = Number(bytes.readBigUInt64LE(0));
  const entries = header.parse(JSON.parse(bytes.toString('utf8', 8, 8 + length)));
  return Object.entries(entries).flatMap(([key, { shape }]) => {
    const module = linear.exec(key)?.[1];
    const [outputs, inputs] = shape ?? [];
    if (module === undefined || inputs === undefined || outputs === undefined) return [];
    return [{ name: key.replace(/\.weight$/, ''), module, inputs, outputs }];
  });
}

/** A safetensors file of float32 zeros: an 8-byte length, a JSON header, the data. */
function zeros(tensors: readonly { readonly name: string; readonly shape: readonly number[] }[]): Buffer {
  const entries: Record<string, unknown> = {};
  let offset = 0;
  for (const { name, shape } of tensors) {
    const end = offset + 4 * shape.reduce((product, size) => product * size, 1);
    entries[name] = { dtype: 'F32', shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = JSON.stringify(entries);
  const padded = text.padEnd(Math.ceil(text.length / 8) * 8, ' ');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, Buffer.from(padded), Buffer.alloc(offset)]);
}
