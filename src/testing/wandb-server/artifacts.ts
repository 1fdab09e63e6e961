/** Artifacts: collections of versions, each a manifest over blobs that are kept by their MD5. */
import { createHash, randomUUID } from 'node:crypto';
import { UntrainableError } from './rl-rows.ts';
import {
  md5,
  toHex,
  type ArtifactFile,
  type ArtifactRecord,
  type ModelRecord,
  type WandbState,
} from './state.ts';

export interface Manifest {
  readonly version: number;
  readonly storagePolicy: string;
  readonly storagePolicyConfig: { readonly storageLayout: string };
  readonly contents: Readonly<
    Record<string, { readonly digest: string; readonly size: number; readonly birthArtifactID?: string }>
  >;
}

export class Artifacts {
  readonly #state: WandbState;

  constructor(state: WandbState) {
    this.#state = state;
  }

  /** Adds a checkpoint as a version of the model's collection, with the aliases `step<n>` and `latest`. */
  addLora(model: ModelRecord, step: number, files: Readonly<Record<string, Uint8Array>>): void {
    const { entity, project, name } = model;
    const entries = Object.entries(files).map(([path, bytes]) => {
      const digest = md5(bytes).toString('base64');
      this.#state.putBlob(bytes);
      return [path, { digest, size: bytes.byteLength }] as const;
    });
    const contents: Record<string, ArtifactFile> = Object.fromEntries(entries);
    const artifact = this.create({
      entity,
      project,
      type: 'lora',
      collection: name,
      digest: manifestDigest(contents),
      aliases: [`step${String(step)}`, 'latest'],
      metadata: JSON.stringify({ wandb: { base_model: model.base_model } }),
    });
    this.setManifest(artifact, {
      version: 1,
      storagePolicy: 'wandb-storage-policy-v1',
      storagePolicyConfig: { storageLayout: 'V2' },
      contents: Object.fromEntries(
        entries.map(([path, file]) => [path, { ...file, birthArtifactID: artifact.id }]),
      ),
    });
    this.commit(artifact);
  }

  create(
    given: Pick<
      ArtifactRecord,
      'entity' | 'project' | 'type' | 'collection' | 'digest' | 'aliases' | 'metadata'
    >,
  ): ArtifactRecord {
    const artifact: ArtifactRecord = {
      ...given,
      id: randomUUID(),
      versionIndex: null,
      state: 'PENDING',
      manifest: null,
      files: {},
    };
    this.#state.tables.artifacts.push(artifact);
    return artifact;
  }

  /** The committed version of a collection with this very content. */
  identical(entity: string, project: string, collection: string, digest: string): ArtifactRecord | undefined {
    return this.versions(entity, project, collection).find((one) => one.digest === digest);
  }

  /** The highest step that a model ever had, deleted ones included: a step's name is never used again. */
  lastStep({ entity, project, name }: ModelRecord): number {
    const ever = this.#state.tables.artifacts.filter(
      (one) =>
        one.entity === entity && one.project === project && one.collection === name && one.type === 'lora',
    );
    return Math.max(0, ...ever.flatMap((one) => one.aliases.flatMap(stepOfAlias)));
  }

  /** Committed versions, oldest first. */
  versions(entity: string, project: string, collection: string): ArtifactRecord[] {
    return this.#state.tables.artifacts.filter(
      (one) =>
        one.entity === entity &&
        one.project === project &&
        one.collection === collection &&
        one.state === 'COMMITTED',
    );
  }

  setManifest(artifact: ArtifactRecord, manifest: Manifest): void {
    artifact.manifest = this.#state.putBlob(Buffer.from(JSON.stringify(manifest)));
    artifact.files = Object.fromEntries(
      Object.entries(manifest.contents).map(([path, { digest, size }]) => [path, { digest, size }]),
    );
  }

  /** Makes it the next version. Gives why it cannot be, if so. */
  commit(artifact: ArtifactRecord): string | undefined {
    if (artifact.state === 'COMMITTED') return undefined;
    const manifest = artifact.manifest === null ? undefined : this.#state.blob(artifact.manifest);
    if (manifest === undefined) return 'the manifest was not uploaded';
    const { contents } = JSON.parse(manifest.toString('utf8')) as Manifest;
    for (const [path, { digest }] of Object.entries(contents))
      if (this.#state.blob(toHex(digest)) === undefined) return `the file ${path} was not uploaded`;
    if (manifestDigest(contents) !== artifact.digest) return 'the digest does not fit the manifest';
    artifact.files = Object.fromEntries(
      Object.entries(contents).map(([path, { digest, size }]) => [path, { digest, size }]),
    );
    const others = this.versions(artifact.entity, artifact.project, artifact.collection);
    artifact.versionIndex = others.reduce((next, one) => Math.max(next, (one.versionIndex ?? -1) + 1), 0);
    // An alias points at one version only.
    for (const other of others)
      other.aliases = other.aliases.filter((one) => !artifact.aliases.includes(one));
    artifact.state = 'COMMITTED';
    this.#state.save();
    return undefined;
  }

  delete(matches: (artifact: ArtifactRecord) => boolean): void {
    for (const artifact of this.#state.tables.artifacts.filter(matches)) artifact.state = 'DELETED';
    this.#state.save();
  }

  /** The text of a dataset artifact's JSONL file. Throws UntrainableError. */
  readDataset(url: string): string {
    const reference = parseArtifactUrl(url);
    const artifact =
      reference === undefined
        ? undefined
        : this.#state.findArtifact(reference.entity, reference.project, reference.name, reference.alias);
    if (artifact === undefined) throw new UntrainableError(`Unable to fetch artifact ${url}.`);
    const path = Object.keys(artifact.files).find((one) => one.endsWith('.jsonl'));
    const blob = path === undefined ? undefined : this.#state.blob(toHex(artifact.files[path]?.digest ?? ''));
    if (blob === undefined) throw new UntrainableError(`The artifact ${url} holds no .jsonl file.`);
    return blob.toString('utf8');
  }
}

function stepOfAlias(alias: string): number[] {
  const found = /^step(\d+)$/.exec(alias)?.[1];
  return found === undefined ? [] : [Number(found)];
}

/** Hex MD5 over the version line and one `path:digest` line for each file, by path (§10). */
export function manifestDigest(contents: Readonly<Record<string, { readonly digest: string }>>): string {
  const hash = createHash('md5').update('wandb-artifact-manifest-v1\n');
  for (const path of Object.keys(contents).sort()) hash.update(`${path}:${contents[path]?.digest ?? ''}\n`);
  return hash.digest('hex');
}

export interface ArtifactReference {
  readonly entity: string;
  readonly project: string;
  readonly name: string;
  readonly alias?: string;
}

/** `wandb-artifact:///entity/project/name[:alias]`, three slashes. */
export function parseArtifactUrl(url: string): ArtifactReference | undefined {
  const found = /^wandb-artifact:\/\/\/([^/:]+)\/([^/:]+)\/([^/:]+)(?::([^/:]+))?$/.exec(url);
  const [, entity, project, name, alias] = found ?? [];
  if (entity === undefined || project === undefined || name === undefined) return undefined;
  return { entity, project, name, ...(alias === undefined ? {} : { alias }) };
}
