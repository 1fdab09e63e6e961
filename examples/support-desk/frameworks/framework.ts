/** What each framework's file gives to the demo: the same agent, wrapped in one line. */
import type { Apprentice } from 'apprentice';
import type { Outcome, Ticket } from '../world.ts';

/** Handles one ticket; gives back what it did. */
export type HandleTicket = (
  ticket: Ticket,
  options: { readonly stream: boolean; readonly signal: AbortSignal },
) => Promise<Outcome>;

export interface Framework {
  /** For the title of the demo. */
  readonly title: string;
  /** Makes the agent, on a model that `apprentice` has wrapped. */
  connect(apprentice: Apprentice): HandleTicket;
}

/** Model calls that a ticket may take. */
export const maxTurns = 4;
/** Tokens that an answer may have. */
export const maxTokens = 48;
