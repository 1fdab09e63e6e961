/** The file that a benchmark writes its figures to, which is all that most of them are told. */
import { parseArgs } from 'node:util';

/** The first argument, if any. Throws TypeError at an option: asked before the minutes of work, not taken for a name. */
export function fileArgument(): string | undefined {
  const { positionals } = parseArgs({ allowPositionals: true, options: {} });
  return positionals[0];
}
