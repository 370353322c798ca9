/**
 * The layers of roadmap/0001-architecture.md as data: who may import whom, and which folder owns which outside thing.
 * Imports run downward only. A change here is a change of the architecture: write it down there first.
 */

export interface Layer {
  readonly folder: string;
  /** Folders, or single files (with their path under `src/`) where only a part of a folder is meant. */
  readonly mayImport: readonly string[];
  /** Single files of an allowed folder that stay closed. */
  readonly except?: readonly string[];
  /** A folder at the top of the repository whose files (not code) are compiled in. */
  readonly embeds?: string;
  /** npm packages and runtime modules that are imported from here and from nowhere else. */
  readonly owns: readonly string[];
}

export const LAYERS: readonly Layer[] = [
  { folder: "base", mayImport: [], owns: [] },
  { folder: "cluster", mayImport: ["base"], owns: [] },
  { folder: "decision", mayImport: ["cluster", "base"], owns: [] },
  { folder: "raft", mayImport: ["base"], owns: [] },
  {
    folder: "store",
    mayImport: ["raft/ports.ts", "raft/engine/message.ts", "cluster", "base"],
    embeds: "migrations/",
    owns: ["drizzle-orm", "bun:sqlite"],
  },
  {
    folder: "peer",
    mayImport: ["raft/ports.ts", "raft/engine/message.ts", "cluster", "base"],
    owns: ["@peculiar/x509", "reflect-metadata", "node:tls", "node:net"],
  },
  { folder: "postgres", mayImport: ["cluster", "base"], owns: ["postgres"] },
  {
    folder: "supervisor",
    mayImport: ["postgres", "cluster", "base"],
    except: ["postgres/probe.ts", "postgres/catalog.ts"],
    owns: [],
  },
  {
    folder: "agent",
    mayImport: ["decision", "raft", "postgres", "supervisor", "cluster", "base"],
    owns: [],
  },
  {
    folder: "api",
    mayImport: ["cluster", "base"],
    owns: ["elysia", "@elysiajs/swagger", "@sinclair/typebox", "swagger-ui-dist", "jose"],
  },
  {
    folder: "cli",
    mayImport: ["api", "cluster", "base"],
    owns: ["commander", "@commander-js/extra-typings", "cli-table3", "yaml"],
  },
  // A client like any other: of the API it knows the documents that come back, and nothing of how they are made.
  { folder: "demo", mayImport: ["cli", "api/documents.ts", "postgres", "cluster", "base"], owns: [] },
  {
    folder: "main",
    mayImport: [
      "demo",
      "cli",
      "api",
      "agent",
      "supervisor",
      "postgres",
      "peer",
      "store",
      "raft",
      "decision",
      "cluster",
      "base",
    ],
    owns: ["pino", "smol-toml"],
  },
];

/** Has to be the very first thing that the entry file imports, or decorators of its owner's packages fail at start. */
export const FIRST_IN_ENTRY = { from: "src/main/run-command.ts", packageName: "reflect-metadata" };

/** Under these paths nothing but words and arithmetic: no runtime module at all. */
export const PURE: readonly string[] = ["base/", "cluster/", "decision/", "raft/engine/"];

/** What the supervisor must stay free of, however far away it is imported: it has to stay small. */
export const TOO_HEAVY_FOR_SUPERVISOR: readonly string[] = ["elysia", "drizzle-orm", "postgres"];
