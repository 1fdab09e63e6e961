/** Everything that can be seen of a value, as plain data to compare; and a world in which two runs see the same. */
import { vi } from 'vitest';

/**
 * Fixes the clock and the random numbers, so that ids and times which the AI SDK makes up are the same in every run
 * that starts with this. `vi.useRealTimers()` and `vi.restoreAllMocks()` end it.
 */
export function sameWorld(): void {
  vi.useFakeTimers({ toFake: ['Date', 'performance'], now: 1_700_000_000_000 });
  let state = 42;
  vi.spyOn(Math, 'random').mockImplementation(() => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  });
}

/** What a value is, down to its last field: classes by name, errors with their causes, getters by what they give. */
export function whole(value: unknown, above: readonly object[] = []): unknown {
  if (typeof value === 'function') return `function ${value.name}`;
  if (typeof value !== 'object' || value === null) return value;
  if (above.includes(value)) return 'itself';
  const path = [...above, value];
  if (Array.isArray(value)) return value.map((one) => whole(one, path));
  if (value instanceof Date || value instanceof Uint8Array || value instanceof URL) return value;
  if (value instanceof AbortSignal) return { aborted: value.aborted };
  const fields = Object.fromEntries(namesOf(value).map((name) => [name, whole(read(value, name), path)]));
  return value.constructor === Object ? fields : { class: value.constructor.name, ...fields };
}

/** As `whole`, of something whose fields are promises. Streams are left out: each would have to be read. */
export async function wholeOfPromises(value: object): Promise<unknown> {
  const names = namesOf(value).filter((name) => !name.endsWith('Stream') && name !== 'baseStream');
  const entries = names.map(async (name) => [name, whole(await settled(read(value, name)))] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** What comes of a promise; some of ai 5 never settle when their stream breaks off. */
async function settled(value: unknown): Promise<unknown> {
  const pending = new Promise((resolve) => setTimeout(resolve, 250, 'still pending'));
  try {
    return await Promise.race([value, pending]);
  } catch (error) {
    return { rejected: error };
  }
}

/** Own fields, and the getters of the classes; private ones of compiled classes, too, but no stacks and methods. */
function namesOf(value: object): string[] {
  const names = new Set(Object.getOwnPropertyNames(value));
  for (let above = prototypeOf(value); above !== null; above = prototypeOf(above)) {
    const described = Object.entries(Object.getOwnPropertyDescriptors(above));
    for (const [name, descriptor] of described) if (descriptor.get !== undefined) names.add(name);
  }
  names.delete('stack');
  names.delete('__proto__');
  return [...names].sort();
}

function prototypeOf(value: object): object | null {
  return Object.getPrototypeOf(value) as object | null;
}

function read(value: object, name: string): unknown {
  try {
    return Reflect.get(value, name);
  } catch (error) {
    return { thrown: error };
  }
}
