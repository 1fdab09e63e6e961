/**
 * The world of the demo: a shop with orders, customers who write about them, and the right thing to do. Pure and
 * seeded. The words are in world.json, which the tiny model's training script reads, too.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Scenario } from 'apprentice/rewards';

interface Problem {
  readonly attribute: string;
  readonly actions: Readonly<Record<string, string>>;
  readonly phrases: readonly string[];
}

interface Words {
  readonly system: string;
  readonly tools: Readonly<Record<'look_up_order' | 'resolve', { readonly description: string }>>;
  readonly actions: readonly string[];
  readonly items: readonly string[];
  readonly names: { readonly train: readonly string[]; readonly heldOut: readonly string[] };
  readonly attributes: Readonly<Record<string, readonly string[]>>;
  readonly problems: Readonly<Record<string, Problem>>;
  readonly greetings: readonly string[];
}

export const words = JSON.parse(readFileSync(new URL('./world.json', import.meta.url), 'utf8')) as Words;

export type Order = Readonly<Record<string, string>>;

/** A customer's request. `right` is what a good agent does; the model never sees it. */
export interface Ticket extends Scenario {
  readonly message: string;
  readonly orderId: string;
  readonly order: Order;
  readonly right: string;
}

/** What the agent did in one run. */
export interface Outcome {
  readonly lookedUp: readonly string[];
  readonly resolved: readonly { readonly order: string; readonly action: string }[];
}

const letters = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZ');

/** A quarter of all order ids never occurs in any training, of the base model or of the demo. */
export function isHeldOut(orderId: string): boolean {
  // By a hash, as in the training script: a simple rule over the digits would be learnt by the model.
  return createHash('sha256').update(orderId).digest().readUInt8(0) % 4 === 0;
}

/** `count` different tickets of one pool; the same for the same seed. */
export function makeTickets(pool: 'train' | 'heldOut', count: number, random: () => number): Ticket[] {
  const tickets = new Map<string, Ticket>();
  while (tickets.size < count) {
    const orderId = pick(letters, random) + [0, 0, 0].map(() => String(Math.floor(random() * 10))).join('');
    if (isHeldOut(orderId) !== (pool === 'heldOut') || tickets.has(orderId)) continue;
    tickets.set(orderId, makeTicket(orderId, pool, random));
  }
  return [...tickets.values()];
}

function makeTicket(orderId: string, pool: 'train' | 'heldOut', random: () => number): Ticket {
  const problem = pick(Object.values(words.problems), random);
  const item = pick(words.items, random);
  const attributes = Object.entries(words.attributes).map(
    ([name, values]) => [name, pick(values, random)] as const,
  );
  const order: Order = { order: orderId, item, ...Object.fromEntries(attributes) };
  const right = problem.actions[order[problem.attribute] ?? ''] ?? '';
  const phrase = pick(problem.phrases, random).replace('{item}', item);
  const message = `${pick(words.greetings, random)}, ${pick(words.names[pool], random)} here, ${phrase}. Order ${orderId}.`;
  return { id: `${pool}-${orderId}`, message, orderId, order, right };
}

/** 1: looked the right order up and did the right thing to it, once. Part marks on the way, all below 1. */
export function reward(ticket: Ticket, outcome: Outcome): number {
  const found = outcome.lookedUp.includes(ticket.orderId);
  const [first, ...more] = outcome.resolved;
  if (!found) return 0;
  if (first?.order !== ticket.orderId || more.length > 0) return 0.1;
  return first.action === ticket.right ? 1 : 0.2;
}

function pick<T>(values: readonly T[], random: () => number): T {
  const value = values[Math.floor(random() * values.length)];
  if (value === undefined) throw new RangeError('There is nothing to pick from.');
  return value;
}
