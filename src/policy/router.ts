import { AsyncLocalStorage } from 'node:async_hooks';
import type { Route, Router } from '../capture/route.ts';

const incumbent: Route = { kind: 'incumbent', propensity: 1 };

/** One storage over duplicate copies of the package, as for the run scope. */
const key = Symbol.for('apprentice.route.1');
const shared = globalThis as { [key]?: AsyncLocalStorage<Route> };
const pinned = (shared[key] ??= new AsyncLocalStorage<Route>());

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
