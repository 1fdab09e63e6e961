/**
 * `apprentice/testing/wandb-server`: a server that behaves like W&B Training and the part of W&B that it needs, on the
 * loopback. Keeps models, checkpoints, jobs, artifacts and runs; trains and samples with the engine that it is given.
 */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Artifacts } from './artifacts.ts';
import { answerChat } from './chat.ts';
import type { WandbEngine } from './engine.ts';
import { Faults, usualBehaviour, type Behaviour, type FaultRule } from './faults.ts';
import { HttpError, startHttpServer, type Route, type SeenRequest } from './http.ts';
import { Jobs, type JobDefaults } from './jobs.ts';
import { WandbState, type RunRecord } from './state.ts';
import { trainingRoutes } from './training-api.ts';
import { SignedUrls, wandbRoutes } from './wandb-api.ts';

export type { WandbEngine, EngineJob, TrainedAdapter } from './engine.ts';
export type { Behaviour, Fault, FaultRule } from './faults.ts';
export type { SeenRequest } from './http.ts';
export { scriptedEngine, type ScriptedEngine } from './scripted-engine.ts';
export { startSidecarEngine, type SidecarEngineOptions } from './sidecar-engine.ts';

export interface WandbServerOptions {
  readonly engine: WandbEngine;
  /** The only key that it takes. Default: 'stand-in-key'. */
  readonly apiKey?: string;
  /** The key's entity. Default: 'stand-in'. */
  readonly entity?: string;
  /** Keeps the state in this folder. Default: in memory only. */
  readonly folder?: string;
  /** Default: a free one. */
  readonly port?: number;
  readonly behaviour?: Partial<Behaviour>;
  /** What the service decides where a job does not say. Default: learning rate 5e-6, 4 gradient steps. */
  readonly defaults?: Partial<JobDefaults>;
}

export interface WandbServer {
  /** Of the training API and of inference; ends in `/v1`. */
  readonly trainingUrl: string;
  /** Of W&B's own API. */
  readonly wandbUrl: string;
  readonly apiKey: string;
  readonly entity: string;
  /** May be changed at any time; jobs take it as it is when they begin. */
  readonly behaviour: Behaviour;
  /** What came in, oldest first, at most 2000. */
  readonly requests: readonly SeenRequest[];
  /** Makes requests fail. */
  fail(rule: FaultRule): void;
  clearFaults(): void;
  /** A run as it is kept. */
  run(project: string, name: string): Readonly<RunRecord> | undefined;
  /** Resolves when no job is left. */
  settled(): Promise<void>;
  /** Ends the server and its engine. */
  close(): Promise<void>;
}

/** Starts it on 127.0.0.1. */
export async function startWandbServer(options: WandbServerOptions): Promise<WandbServer> {
  const { engine, apiKey = 'stand-in-key', entity = 'stand-in' } = options;
  const behaviour: Behaviour = { ...usualBehaviour, ...options.behaviour };
  const state = new WandbState(options.folder);
  const artifacts = new Artifacts(state);
  const defaults = { learningRate: 5e-6, gradientSteps: 4, ...options.defaults };
  const jobs = new Jobs({ state, engine, artifacts, behaviour, defaults });
  const faults = new Faults();
  const signed = new SignedUrls();
  const bearer = authorisation(`Bearer ${apiKey}`);
  const basic = authorisation(`Basic ${Buffer.from(`api:${apiKey}`).toString('base64')}`);
  const open = (): void => undefined;
  const wandb = { state, artifacts, entity, sign: signed.sign.bind(signed) };
  const routes: Route[] = [
    ...trainingRoutes({ state, engine, jobs, artifacts, behaviour, entity }, bearer, open),
    {
      method: 'POST',
      path: '/v1/chat/completions',
      authorise: bearer,
      handle: (exchange) => answerChat({ state, engine }, exchange),
    },
    ...wandbRoutes(wandb, signed, basic, open),
  ];
  const server = await startHttpServer({ routes, faults, port: options.port ?? 0 });
  const wandbUrl = `http://127.0.0.1:${String(server.port)}`;
  signed.setOrigin(wandbUrl);
  return {
    trainingUrl: `${wandbUrl}/v1`,
    wandbUrl,
    apiKey,
    entity,
    behaviour,
    requests: server.requests,
    fail: (rule) => {
      faults.add(rule);
    },
    clearFaults: () => {
      faults.clear();
    },
    run: (project, name) => state.run(entity, project, name),
    settled: () => jobs.settled(),
    close: async () => {
      await server.close();
      await engine.close();
    },
  };
}

/** Missing or wrong: 401, as the service says it. */
function authorisation(expected: string): Route['authorise'] {
  const wanted = Buffer.from(expected);
  return ({ authorization }: IncomingHttpHeaders) => {
    const given = Buffer.from(authorization ?? '');
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
      throw new HttpError(401, authorization === undefined ? 'Not authenticated' : 'Invalid API key');
  };
}
