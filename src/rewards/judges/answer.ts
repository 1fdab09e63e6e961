/** From what a judge wrote to a value that was checked. Nothing is guessed: what does not fit is a fault. */

export type Checked<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: string };

/**
 * Finds the JSON object in an answer, whatever stands around it (prose, a code fence, reasoning), and checks it. JSON
 * with faults is not mended here: a number that broke off would become another number.
 */
export function readAnswer<T>(
  answer: { readonly text: string; readonly truncated: boolean },
  check: (value: unknown) => Checked<T>,
): Checked<T> {
  if (answer.truncated) return { ok: false, fault: 'the answer broke off before its end' };
  const candidates = jsonObjects(answer.text);
  // The last object that fits: judges that think aloud give their verdict at the end.
  const checked = candidates.map(check);
  const right = checked.findLast((one) => one.ok);
  const last = checked.at(-1);
  if (right !== undefined) return right;
  return last ?? { ok: false, fault: 'there is no valid JSON object in it' };
}

/** All outermost JSON objects of a text, in their order. */
function jsonObjects(text: string): unknown[] {
  const found: unknown[] = [];
  let at = text.indexOf('{');
  while (at !== -1) {
    const end = endOfObject(text, at);
    // An object that never ends: what stands in it is a part of a broken answer, and no answer.
    if (end === undefined) return found;
    try {
      found.push(JSON.parse(text.slice(at, end)));
    } catch {
      // Not looked into: a part of a broken answer is not the answer.
    }
    at = text.indexOf('{', end);
  }
  return found;
}

/** Index after the brace that closes the one at `start`; braces in strings do not count. */
function endOfObject(text: string, start: number): number | undefined {
  let depth = 0;
  let quoted = false;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at];
    if (quoted) {
      if (character === '\\') at += 1;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === '{') depth += 1;
    else if (character === '}' && --depth === 0) return at + 1;
  }
  return undefined;
}
