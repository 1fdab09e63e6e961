/** Fetches an artifact into a folder. Every byte is checked against the manifest, and the manifest against its digest. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { AdapterRefusedError, ServiceRequestError } from '../../../errors.ts';
import type { WandbGraphql } from './graphql.ts';
import { fileDigest, manifest, manifestDigest } from './manifest.ts';

export interface DownloadRequest {
  readonly entity: string;
  readonly project: string;
  /** `collection:alias`, for instance `desk:step3`. */
  readonly artifact: string;
  /** Must not exist; it is there whole, or not at all. */
  readonly folder: string;
  readonly signal?: AbortSignal | undefined;
}

const resolved = z.looseObject({
  project: z
    .looseObject({
      artifactCollectionMembership: z
        .looseObject({ artifact: z.looseObject({ id: z.string(), digest: z.string() }).nullable() })
        .nullable(),
    })
    .nullable(),
});
const withManifest = z.looseObject({
  artifact: z.looseObject({
    currentManifest: z.looseObject({ file: z.looseObject({ directUrl: z.string() }) }),
  }),
});
const page = z.looseObject({
  artifact: z.looseObject({
    files: z.looseObject({
      edges: z.array(z.looseObject({ node: z.looseObject({ name: z.string(), directUrl: z.string() }) })),
      pageInfo: z.looseObject({ hasNextPage: z.boolean(), endCursor: z.string().nullish() }),
    }),
  }),
});

const resolveQuery = `query ResolveArtifact($project: String!, $entity: String, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) { artifact { id digest } } }
}`;
const manifestQuery = `query ArtifactManifest($id: ID!) {
  artifact(id: $id) { currentManifest { file { directUrl } } }
}`;
const filesQuery = `query ArtifactFiles($id: ID!, $after: String) {
  artifact(id: $id) { files(after: $after, first: 100) {
    edges { node { name directUrl } } pageInfo { hasNextPage endCursor } } }
}`;

/** Pages of 100 files that are read at most. */
const maximumPages = 100;

/** Gives the artifact's digest. Throws AdapterRefusedError where the bytes are not what the manifest says. */
export async function downloadArtifact(api: WandbGraphql, request: DownloadRequest): Promise<string> {
  const { entity, project, artifact: name, signal } = request;
  const found = await api.ask(
    { name: 'ResolveArtifact', query: resolveQuery, variables: { project, entity, name }, signal },
    resolved,
  );
  const artifact = found.project?.artifactCollectionMembership?.artifact ?? undefined;
  if (artifact === undefined) {
    throw new ServiceRequestError(`There is no artifact ${entity}/${project}/${name}.`, {
      request: 'GraphQL ResolveArtifact',
      status: 404,
      fix: 'Look at the list of checkpoints for the steps that are there.',
    });
  }
  const { id, digest } = artifact;
  const place = await api.ask(
    { name: 'ArtifactManifest', query: manifestQuery, variables: { id }, signal },
    withManifest,
  );
  const bytes = await fetchSigned(api, place.artifact.currentManifest.file.directUrl, signal);
  const { contents } = parseManifest(bytes, name);
  if (manifestDigest(contents) !== digest) throw refuse(name, 'its manifest does not match its digest');
  const urls = await fileUrls(api, id, signal);
  const target = resolve(request.folder);
  const temporary = join(dirname(target), `.${randomUUID()}.tmp`);
  await mkdir(temporary, { recursive: true, mode: 0o700 });
  try {
    for (const [path, entry] of Object.entries(contents)) {
      const file = resolve(temporary, path);
      if (!file.startsWith(temporary + sep))
        throw refuse(name, `the file ${path} would lie outside its folder`);
      const url = urls.get(path);
      if (entry.ref !== undefined || url === undefined)
        throw refuse(name, `the file ${path} cannot be fetched`);
      const content = await fetchSigned(api, url, signal);
      if (fileDigest(content) !== entry.digest)
        throw refuse(name, `the file ${path} does not match its digest`);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content, { flag: 'wx', flush: true });
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  return digest;
}

function parseManifest(bytes: Uint8Array, name: string): z.infer<typeof manifest> {
  try {
    return manifest.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (cause) {
    throw refuse(name, 'its manifest cannot be read', cause);
  }
}

async function fileUrls(
  api: WandbGraphql,
  id: string,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, string>> {
  const urls = new Map<string, string>();
  let after: string | null = null;
  for (let count = 0; count < maximumPages; count += 1) {
    const found: z.infer<typeof page> = await api.ask(
      { name: 'ArtifactFiles', query: filesQuery, variables: { id, after }, signal },
      page,
    );
    const { edges, pageInfo } = found.artifact.files;
    for (const { node } of edges) urls.set(node.name, node.directUrl);
    if (!pageInfo.hasNextPage) break;
    after = pageInfo.endCursor ?? null;
  }
  return urls;
}

function fetchSigned(api: WandbGraphql, url: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  return api.http.bytes({
    method: 'GET',
    url,
    authorisation: 'none',
    ...(signal === undefined ? {} : { signal }),
  });
}

function refuse(name: string, why: string, cause?: unknown): AdapterRefusedError {
  return new AdapterRefusedError(`The artifact ${name} is refused: ${why}.`, {
    fix: 'Download it again; where this goes on, the stored artifact is broken.',
    cause,
    retryable: true,
  });
}
