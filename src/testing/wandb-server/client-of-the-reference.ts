/** A client for the stand-in's own tests: nothing but fetch and what the protocol's description says. */
import type { WandbServer } from './index.ts';

export type Json = Readonly<Record<string, unknown>>;

export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: Json;
}

export async function training(
  server: WandbServer,
  method: string,
  path: string,
  body?: unknown,
  authorization: string | null = `Bearer ${server.apiKey}`,
): Promise<Reply> {
  const response = await fetch(`${server.trainingUrl}${path}`, {
    method,
    headers: {
      'content-type': 'application/json',
      ...(authorization === null ? {} : { authorization }),
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const type = response.headers.get('content-type') ?? '';
  return {
    status: response.status,
    type,
    body: type.includes('json') ? (JSON.parse(text) as Json) : { text },
  };
}

export async function registered(
  server: WandbServer,
  name = 'desk',
): Promise<Json & { readonly id: string }> {
  const body = { entity: null, project: 'shop', name, base_model: 'scripted/base', return_existing: true };
  return (await training(server, 'POST', '/preview/models', body)).body as Json & { readonly id: string };
}

/** A choice that the service can train on. */
export function choice(changes: Json = {}): Json {
  const logprob = { token: 'token_id:5', logprob: -0.5, bytes: null, top_logprobs: [] };
  return {
    finish_reason: 'stop',
    index: 0,
    logprobs: { content: [logprob, logprob], refusal: null },
    message: { role: 'assistant', content: 'yes', refusal: null },
    prompt_token_ids: [1, 2, 3],
    token_ids: [4, 5],
    ...changes,
  };
}

export function group(rewards: readonly number[], made: Json = choice()): Json {
  return {
    trajectories: rewards.map((reward) => ({
      messages_and_choices: [{ role: 'user', content: 'Say yes.' }, made],
      reward,
    })),
  };
}

export async function startJob(
  server: WandbServer,
  modelId: string,
  groups: readonly Json[],
): Promise<string> {
  const body = { model_id: modelId, trajectory_groups: groups, experimental_config: null };
  const reply = await training(server, 'POST', '/preview/training-jobs', body);
  return String(reply.body['id']);
}

export async function eventsOf(server: WandbServer, jobId: string, query = ''): Promise<Json[]> {
  const reply = await training(server, 'GET', `/preview/training-jobs/${jobId}/events${query}`);
  return reply.body['data'] as Json[];
}

export async function graphql(server: WandbServer, query: string, variables: Json = {}): Promise<Json> {
  const response = await fetch(`${server.wandbUrl}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...basic(server) },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()) as Json;
}

export function basic(server: WandbServer): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`api:${server.apiKey}`).toString('base64')}` };
}
