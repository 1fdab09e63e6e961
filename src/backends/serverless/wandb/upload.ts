/** Brings files into an artifact: declare, upload, commit. Content that is there already is not sent again. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { ServiceRequestError } from '../../../errors.ts';
import type { RunName, WandbGraphql } from './graphql.ts';
import { fileDigest, manifestDigest, type Contents } from './manifest.ts';

export interface UploadRequest {
  /** The run that it comes from; must exist. */
  readonly from: RunName;
  readonly type: string;
  readonly collection: string;
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly aliases?: readonly string[];
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly signal?: AbortSignal | undefined;
}

const artifact = z.looseObject({ id: z.string(), state: z.string() });
const created = z.looseObject({ createArtifact: z.looseObject({ artifact }) });
const uploadTarget = {
  uploadUrl: z.string().nullish(),
  uploadHeaders: z.array(z.string()).nullish(),
};
const withManifest = z.looseObject({
  createArtifactManifest: z.looseObject({
    artifactManifest: z.looseObject({ id: z.string(), file: z.looseObject(uploadTarget) }),
  }),
});
const withFiles = z.looseObject({
  createArtifactFiles: z.looseObject({
    files: z.looseObject({
      edges: z.array(z.looseObject({ node: z.looseObject({ name: z.string(), ...uploadTarget }) })),
    }),
  }),
});
const committed = z.looseObject({ commitArtifact: z.looseObject({ artifact }) });

const createQuery = `mutation CreateArtifact($input: CreateArtifactInput!) {
  createArtifact(input: $input) { artifact { id state } }
}`;
const manifestQuery = `mutation CreateArtifactManifest($input: CreateArtifactManifestInput!, $includeUpload: Boolean!) {
  createArtifactManifest(input: $input) { artifactManifest { id file { id
    uploadUrl @include(if: $includeUpload) uploadHeaders @include(if: $includeUpload) } } }
}`;
const filesQuery = `mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) {
  createArtifactFiles(input: $input) { files { edges { node { id name uploadUrl uploadHeaders } } } }
}`;
const commitQuery = `mutation CommitArtifact($input: CommitArtifactInput!) {
  commitArtifact(input: $input) { artifact { id state } }
}`;

/** Throws ServiceRequestError, AbortedError. */
export async function uploadArtifact(api: WandbGraphql, request: UploadRequest): Promise<void> {
  const { from, type, collection, files, signal, aliases = ['latest'], metadata = {} } = request;
  const digests = Object.fromEntries(Object.entries(files).map(([path, bytes]) => [path, fileDigest(bytes)]));
  const plain: Contents = Object.fromEntries(
    Object.entries(files).map(([path, bytes]) => [
      path,
      { digest: digests[path] ?? '', size: bytes.byteLength },
    ]),
  );
  const place = { entityName: from.entity, projectName: from.project, runName: from.run };
  const made = await api.ask(
    {
      name: 'CreateArtifact',
      query: createQuery,
      signal,
      variables: {
        input: {
          ...place,
          artifactTypeName: type,
          artifactCollectionName: collection,
          digest: manifestDigest(plain),
          digestAlgorithm: 'MANIFEST_MD5',
          aliases: aliases.map((alias) => ({ artifactCollectionName: collection, alias })),
          metadata: JSON.stringify(metadata),
          enableDigestDeduplication: true,
          clientID: clientId(),
          sequenceClientID: clientId(),
        },
      },
    },
    created,
  );
  const { id: artifactID, state } = made.createArtifact.artifact;
  if (state === 'COMMITTED') return;

  const manifestInput = {
    ...place,
    artifactID,
    baseArtifactID: null,
    name: 'wandb_manifest.json',
    digest: '',
    type: 'FULL',
  };
  const declared = await api.ask(
    {
      name: 'CreateArtifactManifest',
      query: manifestQuery,
      variables: { input: manifestInput, includeUpload: false },
      signal,
    },
    withManifest,
  );
  const artifactManifestID = declared.createArtifactManifest.artifactManifest.id;
  const targets = await api.ask(
    {
      name: 'CreateArtifactFiles',
      query: filesQuery,
      signal,
      variables: {
        input: {
          artifactFiles: Object.entries(digests).map(([name, md5]) => ({
            artifactID,
            name,
            md5,
            artifactManifestID,
          })),
          storageLayout: 'V2',
        },
      },
    },
    withFiles,
  );
  for (const { node } of targets.createArtifactFiles.files.edges) {
    const bytes = files[node.name];
    // No URL: these bytes are stored already.
    if (bytes !== undefined && node.uploadUrl != null)
      await put(api, node.uploadUrl, node.uploadHeaders, bytes, signal);
  }

  const text = JSON.stringify({
    version: 1,
    storagePolicy: 'wandb-storage-policy-v1',
    storagePolicyConfig: { storageLayout: 'V2' },
    contents: Object.fromEntries(
      Object.entries(plain).map(([path, entry]) => [path, { ...entry, birthArtifactID: artifactID }]),
    ),
  });
  const bytes = Buffer.from(text);
  const finished = await api.ask(
    {
      name: 'CreateArtifactManifest',
      query: manifestQuery,
      variables: { input: { ...manifestInput, digest: fileDigest(bytes) }, includeUpload: true },
      signal,
    },
    withManifest,
  );
  const { uploadUrl, uploadHeaders } = finished.createArtifactManifest.artifactManifest.file;
  if (uploadUrl == null) {
    throw new ServiceRequestError('GraphQL CreateArtifactManifest gave no place for the manifest.', {
      request: 'GraphQL CreateArtifactManifest',
      fix: 'Try again; report it where it goes on.',
      retryable: true,
    });
  }
  await put(api, uploadUrl, uploadHeaders, bytes, signal);
  await api.ask(
    { name: 'CommitArtifact', query: commitQuery, variables: { input: { artifactID } }, signal },
    committed,
  );
}

async function put(
  api: WandbGraphql,
  url: string,
  headers: readonly string[] | null | undefined,
  body: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  await api.http.bytes({
    method: 'PUT',
    url,
    authorisation: 'none', // the URL is signed
    body,
    headers: Object.fromEntries((headers ?? []).map(splitHeader)),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** `K:V` → [K, V]; the value may hold colons. */
function splitHeader(header: string): [string, string] {
  const colon = header.indexOf(':');
  return [header.slice(0, colon).trim(), header.slice(colon + 1).trim()];
}

function clientId(): string {
  return randomBytes(16).toString('hex');
}
