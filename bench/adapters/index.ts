/** `npm run bench:adapters [-- FILE]`: what each adapter adds to a model call and to a chunk of a stream; one JSON. */
import { writeFile } from 'node:fs/promises';
import { fileArgument } from '../file-argument.ts';
import { benchLangChain } from './langchain.ts';
import { benchOpenAI } from './openai.ts';

const file = fileArgument();

const progress = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const result = {
  node: process.version,
  openai: await benchOpenAI(5, progress),
  langchain: await benchLangChain(progress),
};
const text = `${JSON.stringify(result, null, 2)}\n`;
if (file !== undefined) await writeFile(file, text);
process.stdout.write(text);
