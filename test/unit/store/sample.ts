import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterId, LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import { encodeCommand } from "../../../src/cluster/command-codec.ts";
import { DEFAULT_TAGS, type Member } from "../../../src/cluster/member.ts";
import { DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import type { ClusterConfig, Entry, EntryKind } from "../../../src/raft/engine/message.ts";
import type { Applied, LogStore, StoreBatch } from "../../../src/raft/ports.ts";
import { openDatabase } from "../../../src/store/database.ts";
import { formStore, joinStore } from "../../../src/store/identity.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import type { Rules } from "../../../src/store/state-machine.ts";

export const CLUSTER = "11111111-1111-4111-8111-111111111111" as ClusterId;
export const M1 = "00000000-0000-4000-8000-000000000001" as MemberId;
export const M2 = "00000000-0000-4000-8000-000000000002" as MemberId;

export const RULES: Rules = { apply };

/** Runs `body` with an empty directory that is removed afterwards. */
export function inDirectory(body: (directory: string) => void | Promise<void>): Promise<void> {
  return within(tmpdir(), body);
}

/** The same on a disk of memory: for what is opened and closed hundreds of times, and need not survive anything. */
export function inMemory(body: (directory: string) => void | Promise<void>): Promise<void> {
  return within(existsSync(MEMORY) ? MEMORY : tmpdir(), body);
}

const MEMORY = "/dev/shm";

async function within(parent: string, body: (directory: string) => void | Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(parent, "guacamole-store-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function member(id: MemberId, name: string, peerAddress = "127.0.0.1:1"): Member {
  return {
    id,
    name,
    kind: "data",
    apiAddress: "127.0.0.1:2",
    peerAddress,
    postgresAddress: "127.0.0.1:3",
    tags: DEFAULT_TAGS,
    data: "none",
  };
}

export function command(id: string, change: Change): Command {
  return { id, atMs: 1_000, by: "local", change };
}

export function formCommand(
  authority = { certificatePem: "certificate", privateKeyPem: "key" },
  peerAddress = "127.0.0.1:1",
): Command {
  return command("form", {
    kind: "form",
    clusterId: CLUSTER,
    name: "demo",
    spec: DEFAULT_SPEC,
    authority,
    member: member(M1, "m1", peerAddress),
    token: { id: "t0", secretHash: "00", scope: "admin", createdAtMs: 1_000 },
  });
}

/** A command with a visible effect of its own. */
export function tokenCommand(id: string, tokenId = id): Command {
  return command(id, { kind: "create-token", tokenId, secretHash: "ab", scope: "viewer" });
}

export function entry(
  index: number,
  term: number,
  kind: EntryKind,
  data: Uint8Array = new Uint8Array(),
): Entry {
  return { index: index as LogIndex, term: term as Term, kind, data };
}

export function commandEntry(index: number, term: number, wish: Command): Entry {
  return entry(index, term, "command", encodeCommand(wish));
}

export function configEntry(index: number, term: number, voters: readonly MemberId[]): Entry {
  return entry(index, term, "config", new TextEncoder().encode(JSON.stringify(configOf(voters))));
}

export function configOf(voters: readonly MemberId[]): ClusterConfig {
  return { voters, outgoing: [], learners: [], learnersNext: [] };
}

export function firstEntries(): readonly Entry[] {
  return [configEntry(1, 1, [M1]), commandEntry(2, 1, formCommand())];
}

/** A store that joined, with an empty log. */
export function joinIn(directory: string, promotableFrom = 7): string {
  const databasePath = storePaths(directory).database;
  joinStore({
    databasePath,
    clusterId: CLUSTER,
    memberId: M2,
    promotableFrom: promotableFrom as LogIndex,
    peers: [{ id: M1, address: "127.0.0.1:8009" }],
  });
  return databasePath;
}

/** A formed store in `directory`: entries 1 and 2 of term 1. */
export function formIn(directory: string, rules = RULES): string {
  const databasePath = storePaths(directory).database;
  formStore({ databasePath, clusterId: CLUSTER, memberId: M1, entries: firstEntries(), rules });
  return databasePath;
}

export function openStore(databasePath: string): SqliteLogStore {
  const database = openDatabase(databasePath);
  try {
    return new SqliteLogStore(database, RULES);
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Commits a batch; what it does not name is nothing, and durable. */
export function write(store: LogStore, batch: Partial<StoreBatch>): readonly Applied[] {
  return store.commit({ snapshot: null, entries: [], hard: null, committed: [], mustSync: true, ...batch });
}
