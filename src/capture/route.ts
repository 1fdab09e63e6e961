/**
 * Who answers a trajectory: the incumbent (the model that the user's agent uses today) or a policy. Chosen once per
 * trajectory and pinned, so that a trajectory finishes on the policy that it began with.
 */
import type { Endpoint } from '../backends/backend.ts';

export type Route =
  | { readonly kind: 'incumbent'; readonly propensity: number }
  | {
      readonly kind: 'policy';
      /** `name@step`, or `base`; what to ask the endpoint for, it says itself. */
      readonly policy: string;
      readonly step: number;
      readonly propensity: number;
      readonly endpoint: (signal?: AbortSignal) => Promise<Endpoint>;
      /** What to do when the policy cannot answer: fail the call (training), or let the incumbent answer. */
      readonly onFailure: 'throw' | 'incumbent';
    };

export type PolicyRoute = Extract<Route, { kind: 'policy' }>;

/** Who answers one call: the incumbent, also in the place of a policy that failed, or a policy. */
export type Answerer =
  | { readonly kind: 'incumbent'; readonly fallback: boolean }
  | { readonly kind: 'policy'; readonly route: PolicyRoute };

export interface Router {
  /** Never throws and never waits: what cannot be decided goes to the incumbent. */
  choose(): Route;
}

/** Sends everything to the incumbent: records only. */
export const recordOnly: Router = { choose: () => ({ kind: 'incumbent', propensity: 1 }) };
