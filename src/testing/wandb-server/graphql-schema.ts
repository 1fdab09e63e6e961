/** The part of W&B's GraphQL schema that §10 uses. */
import { buildSchema } from 'graphql';

export const schema = buildSchema(/* GraphQL */ `
  scalar JSONString
  scalar JSON
  scalar Int64

  type Query {
    viewer: User
    project(name: String!, entityName: String): Project
    model(name: String!, entityName: String): Project
    artifact(id: ID!): Artifact
  }
  type User {
    id: ID!
    entity: String
    username: String
    teams: TeamConnection
  }
  type TeamConnection {
    edges: [TeamEdge!]!
  }
  type TeamEdge {
    node: Entity
  }
  type Entity {
    id: ID!
    name: String!
  }
  type Project {
    id: ID!
    name: String!
    entity: Entity!
    entityName: String!
    artifactCollectionMembership(name: String!): ArtifactCollectionMembership
    artifactType(name: String!): ArtifactType
    bucket(name: String!, missingOk: Boolean): Run
  }
  type ArtifactCollectionMembership {
    id: ID!
    versionIndex: Int
    aliases: [ArtifactAlias!]!
    artifact: Artifact
  }
  type ArtifactType {
    id: ID!
    name: String!
    artifactCollection(name: String!): ArtifactCollection
  }
  type ArtifactCollection {
    id: ID!
    name: String!
    artifacts(after: String, first: Int, order: String, filters: JSONString): ArtifactConnection
  }
  type ArtifactConnection {
    pageInfo: PageInfo!
    edges: [ArtifactEdge!]!
  }
  type ArtifactEdge {
    version: String
    cursor: String!
    node: Artifact
  }
  type PageInfo {
    endCursor: String
    hasNextPage: Boolean!
  }
  type ArtifactAlias {
    alias: String!
  }
  type ArtifactSequence {
    id: ID!
    latestArtifact: Artifact
  }
  type Artifact {
    id: ID!
    state: String!
    digest: String!
    size: Int64!
    metadata: JSONString
    versionIndex: Int
    aliases: [ArtifactAlias!]!
    artifactSequence: ArtifactSequence
    currentManifest: ArtifactManifest
    files(names: [String!], after: String, first: Int): FileConnection
    filesByManifestEntries(
      storageLayout: String
      manifestVersion: Int
      entries: [ManifestEntryInput!]!
      storageRegion: String
    ): FileConnection
  }
  input ManifestEntryInput {
    name: String!
    digest: String!
    birthArtifactID: String
    size: Int64
  }
  type ArtifactManifest {
    id: ID!
    file: File!
  }
  type FileConnection {
    pageInfo: PageInfo!
    edges: [FileEdge!]!
  }
  type FileEdge {
    cursor: String!
    node: File
  }
  type File {
    id: ID!
    name: String!
    displayName: String
    directUrl: String
    uploadUrl: String
    uploadHeaders: [String!]
  }
  type Run {
    id: ID!
    name: String!
    displayName: String
    project: Project
    config: JSONString
    state: String
    summaryMetrics: JSONString
    historyLineCount: Int
    eventsLineCount: Int
    logLineCount: Int
  }

  type Mutation {
    upsertBucket(input: UpsertBucketInput!): UpsertBucketPayload
    createArtifact(input: CreateArtifactInput!): CreateArtifactPayload
    createArtifactManifest(input: CreateArtifactManifestInput!): CreateArtifactManifestPayload
    createArtifactFiles(input: CreateArtifactFilesInput!): CreateArtifactFilesPayload
    commitArtifact(input: CommitArtifactInput!): ArtifactPayload
    updateArtifact(input: UpdateArtifactInput!): ArtifactPayload
  }
  input UpsertBucketInput {
    id: String
    name: String
    modelName: String
    entityName: String
    displayName: String
    config: JSONString
    jobType: String
    groupName: String
    tags: [String!]
    notes: String
    state: String
    summaryMetrics: JSONString
    host: String
    jobProgram: String
    clientMutationId: String
  }
  type UpsertBucketPayload {
    bucket: Run
    inserted: Boolean
  }
  input ArtifactAliasInput {
    artifactCollectionName: String!
    alias: String!
  }
  input CreateArtifactInput {
    entityName: String!
    projectName: String!
    artifactTypeName: String!
    artifactCollectionName: String
    runName: String
    digest: String!
    digestAlgorithm: String
    description: String
    aliases: [ArtifactAliasInput!]
    metadata: JSONString
    enableDigestDeduplication: Boolean
    clientID: ID
    sequenceClientID: ID
    storageRegion: String
    tags: [String!]
    clientMutationId: String
  }
  type CreateArtifactPayload {
    artifact: Artifact
  }
  input CreateArtifactManifestInput {
    artifactID: ID!
    baseArtifactID: ID
    name: String!
    digest: String!
    entityName: String!
    projectName: String!
    runName: String
    type: String
    clientMutationId: String
  }
  type CreateArtifactManifestPayload {
    artifactManifest: ArtifactManifest!
  }
  input CreateArtifactFileInput {
    artifactID: ID!
    name: String!
    md5: String!
    artifactManifestID: ID
    mimetype: String
  }
  input CreateArtifactFilesInput {
    artifactFiles: [CreateArtifactFileInput!]!
    storageLayout: String
    clientMutationId: String
  }
  type CreateArtifactFilesPayload {
    files: FileConnection
  }
  input CommitArtifactInput {
    artifactID: ID!
    clientMutationId: String
  }
  input UpdateArtifactInput {
    artifactID: ID!
    metadata: JSONString
    description: String
    clientMutationId: String
  }
  type ArtifactPayload {
    artifact: Artifact
  }
`);
