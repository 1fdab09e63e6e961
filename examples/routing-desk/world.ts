/**
 * The world of the routing desk: customers' messages, and the team that deals with each by this shop's own rules. Pure
 * and seeded. Held-out messages are made of phrases, items and names of their own.
 */
import { readFileSync } from 'node:fs';
import type { Scenario } from 'apprentice/rewards';

type Pool = 'train' | 'heldOut';

interface World {
  readonly system: string;
  readonly teams: readonly string[];
  readonly examples: readonly { readonly message: string; readonly team: string }[];
  readonly items: Readonly<Record<Pool, readonly string[]>>;
  readonly names: Readonly<Record<Pool, readonly string[]>>;
  readonly openings: Readonly<Record<Pool, readonly string[]>>;
  /** What customers write about: the team, and the ways in which they put it. */
  readonly matters: readonly ({ readonly team: string } & Readonly<Record<Pool, readonly string[]>>)[];
}

const world = JSON.parse(readFileSync(new URL('./world.json', import.meta.url), 'utf8')) as World;

/** A message. `team` is the right one; the model never sees it. */
export interface CustomerMessage extends Scenario {
  readonly text: string;
  readonly team: string;
}

/**
 * `count` different messages of one pool; the same for the same seed. Teams are equally likely, so that no team earns more
 * than another when it is named whatever the message says.
 */
export function makeMessages(pool: Pool, count: number, random: () => number): CustomerMessage[] {
  const found = new Map<string, CustomerMessage>();
  while (found.size < count) {
    const team = pick(world.teams, random);
    const matter = pick(
      world.matters.filter((one) => one.team === team),
      random,
    );
    const said = pick(matter[pool], random).replace('{item}', pick(world.items[pool], random));
    const opening = pick(world.openings[pool], random).replace('{name}', pick(world.names[pool], random));
    const text = `${opening} ${said}`;
    if (!found.has(text)) found.set(text, { id: `${pool}-${String(found.size)}`, text, team });
  }
  return [...found.values()];
}

/** What the agent asks: the teams in a line, two examples of each, the message. */
export function prompt({ text }: CustomerMessage) {
  return {
    system: world.system,
    messages: [
      ...world.examples.flatMap((example) => [
        { role: 'user' as const, content: example.message },
        { role: 'assistant' as const, content: example.team },
      ]),
      { role: 'user' as const, content: text },
    ],
  };
}

/** The team that an answer names; undefined where it names none, or says more than that. */
export function teamIn(answer: string): string | undefined {
  const word = answer.trim().replace(/\.$/u, '').toLowerCase();
  return world.teams.find((one) => one === word);
}

function pick<T>(values: readonly T[], random: () => number): T {
  const value = values[Math.floor(random() * values.length)];
  if (value === undefined) throw new RangeError('There is nothing to pick from.');
  return value;
}
