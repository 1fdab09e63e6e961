/** The stand-in's part of W&B itself as an independent client sees it: §6 (SFT) and §10 of the protocol's description. */
import { createHash } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  basic,
  eventsOf,
  graphql,
  group,
  registered,
  startJob,
  training,
  type Json,
} from './client-of-the-reference.ts';
import { scriptedEngine, startWandbServer, type ScriptedEngine, type WandbServer } from './index.ts';

let server: WandbServer;
let engine: ScriptedEngine;
beforeEach(async () => {
  engine = scriptedEngine();
  server = await startWandbServer({ engine });
});
afterEach(() => server.close());

const md5 = (bytes: string, encoding: 'hex' | 'base64'): string =>
  createHash('md5').update(bytes).digest(encoding);

/** Walks into an answer. */
function at(value: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (inner as Record<string | number, unknown> | null)?.[key],
    value,
  );
}

async function upsert(): Promise<Json> {
  const query = `mutation ($input: UpsertBucketInput!) { upsertBucket(input: $input) {
    bucket { id name displayName historyLineCount project { name entity { name } } } inserted } }`;
  const input = { name: 'desk', modelName: 'shop', entityName: 'stand-in', config: '{}' };
  return at(await graphql(server, query, { input }), 'data', 'upsertBucket') as Json;
}

const stream = (body: Json): Promise<Response> =>
  fetch(`${server.wandbUrl}/files/stand-in/shop/desk/file_stream`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...basic(server) },
    body: JSON.stringify(body),
  });

/** The five calls that bring a dataset into an artifact. */
async function upload(text: string): Promise<Json> {
  const digest = md5(text, 'base64');
  const create = `mutation ($input: CreateArtifactInput!) { createArtifact(input: $input) {
    artifact { id state artifactSequence { latestArtifact { id } } } } }`;
  const common = { entityName: 'stand-in', projectName: 'shop', runName: 'desk' };
  const made = await graphql(server, create, {
    input: {
      ...common,
      artifactTypeName: 'dataset',
      artifactCollectionName: 'desk-sft-data',
      digest: md5(`wandb-artifact-manifest-v1\ntrain.jsonl:${digest}\n`, 'hex'),
      digestAlgorithm: 'MANIFEST_MD5',
      aliases: [{ artifactCollectionName: 'desk-sft-data', alias: 'latest' }],
      metadata: '{"format":"jsonl"}',
      enableDigestDeduplication: true,
      clientID: 'a',
      sequenceClientID: 'b',
    },
  });
  const artifact = at(made, 'data', 'createArtifact', 'artifact') as Json;
  if (artifact['state'] === 'COMMITTED') return artifact;
  const artifactID = artifact['id'];
  const manifestQuery = `mutation ($input: CreateArtifactManifestInput!, $includeUpload: Boolean!) {
    createArtifactManifest(input: $input) { artifactManifest { id file { id
      uploadUrl @include(if: $includeUpload) uploadHeaders @include(if: $includeUpload) } } } }`;
  const manifestInput = {
    ...common,
    artifactID,
    baseArtifactID: null,
    name: 'wandb_manifest.json',
    digest: '',
    type: 'FULL',
  };
  const first = await graphql(server, manifestQuery, { input: manifestInput, includeUpload: false });
  const artifactManifestID = at(first, 'data', 'createArtifactManifest', 'artifactManifest', 'id');
  const filesQuery = `mutation ($input: CreateArtifactFilesInput!) { createArtifactFiles(input: $input) {
    files { edges { node { id name uploadUrl uploadHeaders } } } } }`;
  const files = await graphql(server, filesQuery, {
    input: {
      artifactFiles: [{ artifactID, name: 'train.jsonl', md5: digest, artifactManifestID }],
      storageLayout: 'V2',
    },
  });
  const file = at(files, 'data', 'createArtifactFiles', 'files', 'edges', 0, 'node');
  expect((await fetch(String(at(file, 'uploadUrl')), { method: 'PUT', body: text })).status).toBe(200);
  const manifest = JSON.stringify({
    version: 1,
    storagePolicy: 'wandb-storage-policy-v1',
    storagePolicyConfig: { storageLayout: 'V2' },
    contents: { 'train.jsonl': { digest, size: text.length, birthArtifactID: artifactID } },
  });
  const second = await graphql(server, manifestQuery, {
    input: { ...manifestInput, digest: md5(manifest, 'base64') },
    includeUpload: true,
  });
  const url = at(second, 'data', 'createArtifactManifest', 'artifactManifest', 'file', 'uploadUrl');
  expect((await fetch(String(url), { method: 'PUT', body: manifest })).status).toBe(200);
  const commit = `mutation ($input: CommitArtifactInput!) { commitArtifact(input: $input) {
    artifact { id state digest } } }`;
  return at(
    await graphql(server, commit, { input: { artifactID } }),
    'data',
    'commitArtifact',
    'artifact',
  ) as Json;
}

it('asks for basic authorisation', async () => {
  const response = await fetch(`${server.wandbUrl}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.apiKey}` },
    body: JSON.stringify({ query: '{ viewer { entity } }' }),
  });
  expect(response.status).toBe(401);
});

it('knows whose key it is', async () => {
  const query = '{ viewer { entity username teams { edges { node { name } } } } }';
  expect(at(await graphql(server, query), 'data', 'viewer')).toMatchObject({
    entity: 'stand-in',
    teams: { edges: [{ node: { name: 'stand-in' } }] },
  });
  expect(await graphql(server, '{ nothing }')).toHaveProperty('errors');
});

it('keeps a run’s history by line number, and goes on where it ended', async () => {
  expect(await upsert()).toMatchObject({ inserted: true, bucket: { name: 'desk', historyLineCount: 0 } });
  const rows = ['{"_step":0,"loss":1}', '{"_step":1,"loss":0.5}'];
  expect((await stream({ files: { 'wandb-history.jsonl': { offset: 0, content: rows } } })).status).toBe(200);
  // The same lines again, as after a lost answer, change nothing.
  await stream({ files: { 'wandb-history.jsonl': { offset: 0, content: rows } } });
  expect(await upsert()).toMatchObject({ inserted: false, bucket: { historyLineCount: 2 } });
  const summary = { 'wandb-summary.json': { offset: 0, content: ['{"loss":0.5}'] } };
  await stream({ files: summary, complete: true, exitcode: 0 });
  const query = `{ model(name: "shop", entityName: "stand-in") { bucket(name: "desk", missingOk: true) {
    historyLineCount summaryMetrics } none: bucket(name: "none", missingOk: true) { id } } }`;
  expect(at(await graphql(server, query), 'data', 'model')).toEqual({
    bucket: { historyLineCount: 2, summaryMetrics: '{"loss":0.5}' },
    none: null,
  });
  expect((await stream({ files: { 'wandb-history.jsonl': { offset: 9, content: ['{}'] } } })).status).toBe(
    400,
  );
});

it('gives a checkpoint as an artifact of type lora, whose bytes are what its manifest says', async () => {
  const model = await registered(server);
  await startJob(server, model.id, [group([0, 1])]);
  await server.settled();
  const resolve = `{ project(name: "shop", entityName: "stand-in") {
    artifactCollectionMembership(name: "desk:step1") { versionIndex aliases { alias } artifact { id digest } }
    none: artifactCollectionMembership(name: "desk:step9") { id }
    artifactType(name: "lora") { artifactCollection(name: "desk") { artifacts(first: 1) {
      pageInfo { hasNextPage endCursor } edges { version node { aliases { alias } } } } } } } }`;
  const project = at(await graphql(server, resolve), 'data', 'project');
  expect(at(project, 'none')).toBeNull();
  expect(at(project, 'artifactCollectionMembership')).toMatchObject({
    versionIndex: 1,
    aliases: [{ alias: 'step1' }, { alias: 'latest' }],
  });
  expect(at(project, 'artifactType', 'artifactCollection', 'artifacts')).toMatchObject({
    pageInfo: { hasNextPage: true },
    edges: [{ version: 'v1' }],
  });
  const id = at(project, 'artifactCollectionMembership', 'artifact', 'id');
  const query = `query ($id: ID!) { artifact(id: $id) { currentManifest { file { directUrl } }
    files(first: 50) { edges { node { name directUrl } } pageInfo { hasNextPage } } } }`;
  const artifact = at(await graphql(server, query, { id }), 'data', 'artifact');
  const signed = String(at(artifact, 'currentManifest', 'file', 'directUrl'));
  const manifest = (await (await fetch(signed)).json()) as Json;
  expect(manifest).toMatchObject({ version: 1, storagePolicyConfig: { storageLayout: 'V2' } });
  const contents = manifest['contents'] as Record<
    string,
    { digest: string; size: number; birthArtifactID: string }
  >;
  const lines = Object.keys(contents)
    .sort()
    .map((path) => `${path}:${contents[path]?.digest ?? ''}\n`);
  expect(at(project, 'artifactCollectionMembership', 'artifact', 'digest')).toBe(
    md5(`wandb-artifact-manifest-v1\n${lines.join('')}`, 'hex'),
  );
  for (const edge of at(artifact, 'files', 'edges') as { node: { name: string; directUrl: string } }[]) {
    const text = await (await fetch(edge.node.directUrl)).text();
    const entry = contents[edge.node.name];
    expect(md5(text, 'base64')).toBe(entry?.digest);
    const hex = Buffer.from(entry?.digest ?? '', 'base64').toString('hex');
    const path = `artifactsV2/default/stand-in/shop/desk/${entry?.birthArtifactID ?? ''}/${hex}/${edge.node.name}`;
    const direct = await fetch(`${server.wandbUrl}/${path}`, { headers: basic(server) });
    expect(await direct.text()).toBe(text);
  }
});

it('takes a dataset in five calls, once for the same content, and trains on it', async () => {
  const model = await registered(server);
  const turn = (role: string, content: string): Json => ({ role, content });
  const examples = [1, 2, 3].map((n) => ({
    messages: [turn('user', `q${String(n)}`), turn('assistant', 'a')],
  }));
  const text = examples.map((one) => `${JSON.stringify(one)}\n`).join('');
  expect((await upload(text))['state']).toBe('COMMITTED');
  const job = {
    model_id: model.id,
    training_data_url: 'wandb-artifact:///stand-in/shop/desk-sft-data:v0',
    config: { batch_size: 2, learning_rate: [1e-4, 5e-5] },
  };
  const start = () => training(server, 'POST', '/preview/sft-training-jobs', job);
  await upsert();
  expect((await start()).status, 'while the run is open').toBe(400);
  await stream({ complete: true, exitcode: 0 });
  const { id } = (await start()).body;
  await server.settled();
  const events = await eventsOf(server, String(id));
  expect(events[0]).toMatchObject({ type: 'training_started', data: { num_sequences: 2 } });
  expect(events.at(-1)?.['type']).toBe('training_ended');
  expect(engine.jobs[0]).toMatchObject({ step: 1, learningRate: [1e-4, 5e-5] });
  expect(engine.jobs[0]?.rows.map((row) => row.groupId)).toEqual(['000000', '000000', '000001']);
  expect(await upload(text)).toMatchObject({ state: 'COMMITTED' });
});

it('fails an SFT job whose data is not there, or does not end with the assistant', async () => {
  const model = await registered(server);
  await upload(`${JSON.stringify({ messages: [{ role: 'user', content: 'q' }] })}\n`);
  for (const [name, says] of [
    ['desk-sft-data:v0', /Line 1 does not end with the assistant/],
    ['nothing:v0', /Unable to fetch artifact/],
  ] as const) {
    const body = { model_id: model.id, training_data_url: `wandb-artifact:///stand-in/shop/${name}` };
    const { id } = (await training(server, 'POST', '/preview/sft-training-jobs', body)).body;
    await server.settled();
    expect(at((await eventsOf(server, String(id))).at(-1), 'data', 'error_message')).toMatch(says);
  }
});

it('keeps everything in its folder', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'wandb-server-test-'));
  const first = await startWandbServer({ engine: scriptedEngine(), folder });
  const model = await registered(first);
  await startJob(first, model.id, [group([0, 1])]);
  await first.settled();
  first.behaviour.jobs = 'stall';
  const stalled = await startJob(first, model.id, [group([0, 1])]);
  await first.settled();
  await first.close();
  const second = await startWandbServer({ engine: scriptedEngine(), folder });
  try {
    expect((await registered(second)).id).toBe(model.id);
    const list = await training(second, 'GET', `/preview/models/${model.id}/checkpoints`);
    expect((list.body['data'] as Json[]).map((one) => one['step'])).toEqual([0, 1]);
    // What was running when it was stopped has failed, and says so.
    expect((await eventsOf(second, stalled)).at(-1)).toMatchObject({
      type: 'training_failed',
      data: { error_message: 'The server was restarted.' },
    });
    const query = `{ project(name: "shop", entityName: "stand-in") {
      artifactCollectionMembership(name: "desk:latest") { aliases { alias } } } }`;
    expect(
      at(await graphql(second, query), 'data', 'project', 'artifactCollectionMembership'),
    ).not.toBeNull();
  } finally {
    await second.close();
  }
});
