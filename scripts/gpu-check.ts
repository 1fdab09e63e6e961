/**
 * `npm run gpu-check`: makes the environments and runs python-sidecar/gpu-check with the arguments given here. What it
 * finds goes to the cache folder as well, where `training: 'auto'` looks whether Unsloth was verified.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { ensureEnvironment, type Environment, type RequirementSet } from '../src/backends/local/install.ts';
import { cacheFolder } from '../src/backends/local/locations.ts';
import { cudaProblems } from '../src/backends/local/machine/plan.ts';
import { gpuCheckFile, probeMachine } from '../src/backends/local/machine/probe.ts';

const given = process.argv.slice(2);
const onProgress = (message: string): void => {
  process.stderr.write(`  · ${message}\n`);
};
const environment = await ensureEnvironment({ onProgress });
const problems = cudaProblems(await probeMachine());
const unsloth = await optional('--with-unsloth', 'cuda-train');
const vllm = await optional('--with-vllm', 'cuda-serve');
await mkdir(cacheFolder(), { recursive: true });
const program = join(fileURLToPath(new URL('..', import.meta.url)), 'python-sidecar', 'gpu-check');
const run = await execa(
  environment.python,
  [
    program,
    ...['--out', join(cacheFolder(), gpuCheckFile)],
    ...(unsloth === undefined ? [] : ['--unsloth-python', unsloth.python]),
    ...(vllm === undefined ? [] : ['--vllm-python', vllm.python]),
    ...given.filter((one) => !one.startsWith('--with-')),
  ],
  { stdio: 'inherit', reject: false, env: { CUDA_DEVICE_ORDER: 'PCI_BUS_ID' } },
);
process.exitCode = run.exitCode ?? 1;

/** The environment of an engine that needs CUDA, if it is asked for. */
async function optional(flag: string, set: RequirementSet): Promise<Environment | undefined> {
  if (!given.includes(flag)) return undefined;
  if (problems.length === 0) return ensureEnvironment({ set, onProgress });
  onProgress(`Without ${flag}: ${problems.join('; ')}`);
  return undefined;
}
