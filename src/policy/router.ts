import type { Route, Router } from '../capture/route.ts';
import { sharedStorage } from '../capture/shared-storage.ts';

const incumbent: Route = { kind: 'incumbent', propensity: 1 };

const pinned = sharedStorage<Route>('apprentice.route.1');

/**
 * Routes that can be set for everybody (`serve`, a policy goes live) and pinned for what one function starts (`pin`,
 * rollouts and evaluation on one step).
 */
export class PolicyRouter implements Router {
  #live: Route = incumbent;

  choose(): Route {
    return pinned.getStore() ?? this.#live;
  }

  /** From now on, trajectories that begin outside `pin` take this route. */
  serve(route: Route): void {
    this.#live = route;
  }

  /** Back to the user's own model: the way out. */
  serveIncumbent(): void {
    this.#live = incumbent;
  }

  /** Runs `start` so that each trajectory that begins in it takes `route`. */
  pin<T>(route: Route, start: () => T): T {
    return pinned.run(route, start);
  }
}
