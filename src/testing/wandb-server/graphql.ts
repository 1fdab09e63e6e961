/** W&B's GraphQL (§10): artifacts and runs, resolved from the stand-in's state. */
import { randomUUID } from 'node:crypto';
import { graphql } from 'graphql';
import { z } from 'zod';
import { manifestDigest, type Artifacts, type Manifest } from './artifacts.ts';
import { schema } from './graphql-schema.ts';
import { HttpError, type Answer, type Exchange } from './http.ts';
import type { ArtifactRecord, RunRecord, WandbState } from './state.ts';

export interface WandbApiParts {
  readonly state: WandbState;
  readonly artifacts: Artifacts;
  readonly entity: string;
  /** Makes a URL that lets its holder read or write a blob, without a key. */
  readonly sign: (grant: Grant) => string;
}

export type Grant =
  | { readonly action: 'read'; readonly blob: string }
  | { readonly action: 'write'; readonly blob: string; readonly manifestOf?: string };

const request = z.object({
  query: z.string(),
  variables: z.record(z.string(), z.unknown()).nullish(),
  operationName: z.string().nullish(),
});

/** Answers a query as W&B does: status 200, with `errors` where it failed. */
export async function answerGraphql(parts: WandbApiParts, exchange: Exchange): Promise<Answer> {
  const parsed = request.safeParse(exchange.json());
  if (!parsed.success) throw new HttpError(400, 'The body must hold a query.');
  const { query, variables, operationName } = parsed.data;
  const result = await graphql({
    schema,
    source: query,
    rootValue: new Root(parts),
    variableValues: variables ?? {},
    operationName: operationName ?? null,
  });
  return { kind: 'json', value: result };
}

interface ProjectArguments {
  readonly name: string;
  readonly entityName?: string | null;
}

type Input<T> = { readonly input: T };

class Root {
  readonly #parts: WandbApiParts;

  constructor(parts: WandbApiParts) {
    this.#parts = parts;
  }

  viewer() {
    const { entity } = this.#parts;
    const teams = { edges: [{ node: { id: entity, name: entity } }] };
    return { id: 'viewer', entity, username: 'stand-in', teams };
  }

  project({ name, entityName }: ProjectArguments) {
    const entity = entityName ?? this.#parts.entity;
    return {
      id: `${entity}/${name}`,
      name,
      entityName: entity,
      entity: { id: entity, name: entity },
      artifactCollectionMembership: (wanted: { readonly name: string }) =>
        this.#membership(entity, name, wanted.name),
      artifactType: ({ name: type }: { readonly name: string }) => ({
        id: type,
        name: type,
        artifactCollection: (wanted: { readonly name: string }) =>
          this.#collection({ entity, project: name, type, collection: wanted.name }),
      }),
      bucket: (wanted: { readonly name: string; readonly missingOk?: boolean }) => {
        const run = this.#parts.state.run(entity, name, wanted.name);
        if (run === undefined && wanted.missingOk !== true) throw new Error(`run ${wanted.name} not found`);
        return run === undefined ? null : this.#describeRun(run);
      },
    };
  }

  model(wanted: ProjectArguments) {
    return this.project(wanted);
  }

  artifact({ id }: { readonly id: string }) {
    const found = this.#parts.state.artifact(id);
    return found === undefined ? null : this.#describe(found);
  }

  upsertBucket({ input }: Input<Readonly<Record<string, string | null | undefined>>>) {
    const { state, entity: own } = this.#parts;
    const entity = input['entityName'] ?? own;
    if (entity !== own) throw new Error(`permission denied for entity ${entity}`);
    const project = input['modelName'] ?? 'uncategorized';
    const name = input['name'] ?? randomUUID().slice(0, 8);
    let run = state.run(entity, project, name);
    const inserted = run === undefined;
    if (run === undefined) {
      run = {
        entity,
        project,
        name,
        displayName: input['displayName'] ?? name,
        config: '{}',
        state: 'running',
        summary: '{}',
        history: [],
        open: false,
      };
      state.tables.runs.push(run);
    }
    run.config = input['config'] ?? run.config;
    run.state = input['state'] ?? run.state;
    run.summary = input['summaryMetrics'] ?? run.summary;
    // Open until a file stream says that the run is complete.
    run.open = true;
    state.save();
    return { bucket: this.#describeRun(run), inserted };
  }

  createArtifact({
    input,
  }: Input<{
    readonly entityName: string;
    readonly projectName: string;
    readonly artifactTypeName: string;
    readonly artifactCollectionName?: string;
    readonly runName?: string;
    readonly digest: string;
    readonly aliases?: readonly { readonly alias: string }[];
    readonly metadata?: string;
    readonly enableDigestDeduplication?: boolean;
  }>) {
    const { state, artifacts } = this.#parts;
    const { entityName: entity, projectName: project, runName, digest } = input;
    if (runName !== undefined && state.run(entity, project, runName) === undefined)
      throw new Error(`run ${runName} not found`);
    const collection = input.artifactCollectionName ?? input.artifactTypeName;
    const same = artifacts.identical(entity, project, collection, digest);
    const aliases = (input.aliases ?? []).map((one) => one.alias);
    const artifact =
      same !== undefined && input.enableDigestDeduplication === true
        ? same
        : artifacts.create({
            entity,
            project,
            type: input.artifactTypeName,
            collection,
            digest,
            aliases: aliases.includes('latest') ? aliases : [...aliases, 'latest'],
            metadata: input.metadata ?? '{}',
          });
    return { artifact: this.#describe(artifact) };
  }

  createArtifactManifest({
    input,
  }: Input<{ readonly artifactID: string; readonly name: string; readonly digest: string }>) {
    const artifact = this.#artifact(input.artifactID);
    const blob = Buffer.from(input.digest, 'base64').toString('hex');
    return {
      artifactManifest: {
        id: `manifest-${artifact.id}`,
        file: {
          id: `file-${input.name}`,
          name: input.name,
          displayName: input.name,
          uploadUrl: () => this.#parts.sign({ action: 'write', blob, manifestOf: artifact.id }),
          uploadHeaders: ['Content-Type:application/json'],
        },
      },
    };
  }

  createArtifactFiles({
    input,
  }: Input<{ readonly artifactFiles: readonly { readonly name: string; readonly md5: string }[] }>) {
    const { state, sign } = this.#parts;
    const edges = input.artifactFiles.map(({ name, md5 }) => {
      const blob = Buffer.from(md5, 'base64').toString('hex');
      // What is stored already need not come again.
      const uploadUrl = state.blob(blob) === undefined ? sign({ action: 'write', blob }) : null;
      const uploadHeaders = [`Content-MD5:${md5}`];
      return {
        cursor: name,
        node: { id: `file-${name}`, name, displayName: name, uploadUrl, uploadHeaders },
      };
    });
    return { files: { edges, pageInfo: { hasNextPage: false, endCursor: null } } };
  }

  commitArtifact({ input }: Input<{ readonly artifactID: string }>) {
    const artifact = this.#artifact(input.artifactID);
    const refusal = this.#parts.artifacts.commit(artifact);
    if (refusal !== undefined) throw new Error(`artifact ${artifact.id} cannot be committed: ${refusal}`);
    return { artifact: this.#describe(artifact) };
  }

  updateArtifact({ input }: Input<{ readonly artifactID: string; readonly metadata?: string }>) {
    const artifact = this.#artifact(input.artifactID);
    artifact.metadata = input.metadata ?? artifact.metadata;
    this.#parts.state.save();
    return { artifact: this.#describe(artifact) };
  }

  #artifact(id: string): ArtifactRecord {
    const found = this.#parts.state.artifact(id);
    if (found === undefined) throw new Error(`artifact ${id} not found`);
    return found;
  }

  #membership(entity: string, project: string, reference: string) {
    const [collection = '', alias] = reference.split(':');
    const artifact = this.#parts.state.findArtifact(entity, project, collection, alias);
    if (artifact === undefined) return null;
    const described = this.#describe(artifact);
    const { versionIndex, aliases } = described;
    return { id: `membership-${artifact.id}`, versionIndex, aliases, artifact: described };
  }

  #collection(of: Pick<ArtifactRecord, 'entity' | 'project' | 'type' | 'collection'>) {
    const versions = this.#parts.artifacts
      .versions(of.entity, of.project, of.collection)
      .filter((one) => one.type === of.type);
    if (versions.length === 0) return null;
    return {
      id: of.collection,
      name: of.collection,
      artifacts: ({ after, first }: { readonly after?: string; readonly first?: number }) =>
        connection(versions.toReversed(), after, first, (one) => ({
          version: `v${String(one.versionIndex)}`,
          node: this.#describe(one),
        })),
    };
  }

  #describe(artifact: ArtifactRecord) {
    const { state, artifacts, sign } = this.#parts;
    const { entity, project, collection } = artifact;
    const file = (name: string) => {
      const entry = artifact.files[name];
      if (entry === undefined) return null;
      const blob = Buffer.from(entry.digest, 'base64').toString('hex');
      return { id: `file-${name}`, name, displayName: name, directUrl: () => sign({ action: 'read', blob }) };
    };
    return {
      ...artifact,
      size: Object.values(artifact.files).reduce((sum, one) => sum + one.size, 0),
      aliases: artifact.aliases.map((alias) => ({ alias })),
      artifactSequence: () => {
        const latest = artifacts.versions(entity, project, collection).at(-1);
        return { id: collection, latestArtifact: latest === undefined ? null : this.#describe(latest) };
      },
      currentManifest: () => {
        const { manifest } = artifact;
        if (manifest === null || state.blob(manifest) === undefined) return null;
        const directUrl = () => sign({ action: 'read', blob: manifest });
        return {
          id: `manifest-${artifact.id}`,
          file: { id: 'manifest', name: 'wandb_manifest.json', directUrl },
        };
      },
      files: ({ after, first, names }: { after?: string; first?: number; names?: readonly string[] }) =>
        connection(
          Object.keys(artifact.files).filter((name) => names?.includes(name) ?? true),
          after,
          first,
          (name) => ({ node: file(name) }),
        ),
      filesByManifestEntries: ({ entries }: { readonly entries: readonly { readonly name: string }[] }) =>
        connection(
          entries.map((one) => one.name),
          undefined,
          entries.length,
          (name) => ({ node: file(name) }),
        ),
    };
  }

  #describeRun(run: RunRecord) {
    return {
      id: `${run.entity}/${run.project}/${run.name}`,
      name: run.name,
      displayName: run.displayName,
      project: () => this.project({ name: run.project, entityName: run.entity }),
      config: run.config,
      state: run.state,
      summaryMetrics: run.summary,
      historyLineCount: run.history.length,
      eventsLineCount: 0,
      logLineCount: 0,
    };
  }
}

/** A page by cursor, which is the position of an item. Default size: 50. */
function connection<T, E extends object>(
  items: readonly T[],
  after: string | null | undefined,
  first: number | null | undefined,
  edge: (item: T) => E,
) {
  const start = after == null || after === '' ? 0 : Number(after) + 1;
  const size = first ?? 50;
  const page = items.slice(start, start + size);
  return {
    edges: page.map((item, index) => ({ cursor: String(start + index), ...edge(item) })),
    pageInfo: {
      hasNextPage: start + size < items.length,
      endCursor: page.length === 0 ? null : String(start + page.length - 1),
    },
  };
}

/** Takes an uploaded manifest in. Throws HttpError where it is none. */
export function receiveManifest(parts: WandbApiParts, artifactId: string, bytes: Buffer): void {
  const artifact = parts.state.artifact(artifactId);
  if (artifact === undefined) throw new HttpError(404, 'Not Found');
  const manifest = JSON.parse(bytes.toString('utf8')) as Manifest;
  if (manifest.version !== 1 || manifestDigest(manifest.contents) !== artifact.digest)
    throw new HttpError(400, 'The manifest does not fit the artifact.');
  parts.artifacts.setManifest(artifact, manifest);
}
