/**
 * Work on the database of a stopped member: looking at it, and making a new group out of it, or out of a backup, once a
 * majority is lost for good.
 *
 * A recovery takes the whole log as agreed, its uncommitted end too: how far this member knew of commits lags behind what
 * was acknowledged, so dropping the end could drop what somebody was promised. (Keeping it may keep what nobody was
 * promised, which is harmless.) The new group has another cluster id, so that nobody of the old one can come back into it.
 */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { defined } from "../base/assert.ts";
import type { ClusterId, LogIndex, MemberId, Term } from "../base/ids.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { Entry, EntryId, HardState, PlacedConfig } from "../raft/engine/message.ts";
import { openDatabase, refuseOtherKey, type StoreDatabase, transactOnce } from "./database.ts";
import {
  beginStore,
  markerOf,
  readIdentity,
  type StoreIdentity,
  verifyIdentity,
  writeIdentity,
} from "./identity.ts";
import { verifyLog, walkLog } from "./log-check.ts";
import { hardOf, prepareLog } from "./log-rows.ts";
import { type Marker, markerPathOf, readMarker, writeMarker } from "./marker.ts";
import { floorConfigOf } from "./placed-config.ts";
import { verifyRows } from "./row-checksum.ts";
import { verifySnapshot } from "./snapshot-file.ts";
import { SqliteLogStore } from "./sqlite-log-store.ts";
import { type Rules, readState } from "./state-machine.ts";
import { StoreError } from "./store-error.ts";
import { storeKeyPathOf } from "./store-key.ts";
import { refuseRottenWal } from "./wal-check.ts";

/** What a member's files say. What could not be read is null. */
export interface Inspection {
  readonly databasePath: string;
  /** A sentence for each thing that is not whole; empty: all of it is. */
  readonly flaws: readonly string[];
  readonly marker: Marker | null;
  readonly identity: StoreIdentity | null;
  readonly hard: HardState | null;
  readonly floor: EntryId | null;
  /** The newest entry, or as far as the log is whole. */
  readonly last: EntryId | null;
  /** The first entry that is missing or not what was written; null: the log is whole, or cannot be read at all. */
  readonly brokenAt: LogIndex | null;
  readonly applied: LogIndex | null;
  /** The newest configuration, committed or not. */
  readonly config: PlacedConfig | null;
  /** As applied. */
  readonly state: ClusterState | null;
}

/** What is appended to make a group its own: commands as entry data, made from what is agreed by then. */
export type FollowUp = (state: ClusterState | null) => readonly Uint8Array[];

export interface RecoverInput {
  readonly databasePath: string;
  /** Of the new group; never used before. */
  readonly clusterId: ClusterId;
  readonly followUp: FollowUp;
  readonly rules: Rules;
  /** Only finds out how it would end: works on a copy. */
  readonly isDryRun: boolean;
}

export interface Recovered {
  readonly identity: StoreIdentity;
  /** The newest entry of the old group. */
  readonly lastBefore: EntryId;
  /** So many entries at the end were not known to be committed, and count now. */
  readonly adoptedCount: number;
  /** The newest entry of the new group. */
  readonly last: EntryId;
  readonly state: ClusterState | null;
}

export interface RestoreInput {
  readonly snapshotPath: string;
  /** Of a data directory without a history. */
  readonly databasePath: string;
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  readonly followUp: FollowUp;
  readonly rules: Rules;
}

/**
 * Looks at the database of a stopped member without changing a byte of it: on a copy, so that it works on a damaged one,
 * and on one of an older release.
 *
 * @throws {StoreError} if there is none, or a process uses it.
 */
export function inspectStore(databasePath: string): Inspection {
  refuseMissing(databasePath);
  refuseUsed(databasePath);
  return onCopy(databasePath, (copy, keyPath) => inspectCopy(databasePath, copy, keyPath));
}

/**
 * Makes this stopped member the only one of a new group, with everything that its log holds. One transaction: after a
 * crash it has happened or has not.
 *
 * @throws {StoreError} if there is nothing to go on with, or what there is is damaged, or a process uses it.
 */
export function recoverGroup(input: RecoverInput): Recovered {
  refuseMissing(input.databasePath);
  refuseUsed(input.databasePath);
  if (!input.isDryRun) return recover(input.databasePath, input);
  return onCopy(input.databasePath, (copy, keyPath) => recover(copy, input, keyPath));
}

/**
 * Makes a new group with one member out of a backup: a snapshot of any cluster, in an empty data directory.
 *
 * @throws {StoreError} if the snapshot is damaged, or the data directory has a history.
 */
export function restoreGroup(input: RestoreInput): Recovered {
  const { meta, clusterId: before, path } = verifySnapshot(input.snapshotPath, null);
  const identity: StoreIdentity = {
    clusterId: input.clusterId,
    memberId: input.memberId,
    origin: "recover",
    promotableFrom: 0 as LogIndex,
    peers: [],
    recoveryEpoch: 1,
  };
  let recovered: Recovered | null = null;
  beginStore(input.databasePath, identity, (database) => {
    // A store takes snapshots of its own cluster only: until it is installed, it is of that one.
    writeIdentity(database, { ...identity, clusterId: before });
    const store = new SqliteLogStore(database, input.rules, "beginning");
    const hard = { term: nextTerm(meta.term), vote: null, commit: meta.index };
    commitAll(store, { snapshot: { meta, content: path }, hard });
    append(store, input.memberId, input.followUp);
    writeIdentity(database, identity);
    const lastBefore = { index: meta.index, term: meta.term };
    recovered = { identity, lastBefore, adoptedCount: 0, last: store.load().last, state: store.state };
  });
  return defined<Recovered>(recovered, "a database that was begun was filled");
}

function inspectCopy(databasePath: string, copy: string, keyPath: string): Inspection {
  const flaws: string[] = [];
  const attempt = <Result>(look: () => Result): Result | null => {
    try {
      return look();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      // Whoever reads this knows nothing of the copy.
      const flaw = text
        .replaceAll(copy, databasePath)
        .replaceAll(markerPathOf(copy), markerPathOf(databasePath));
      if (!flaws.includes(flaw)) flaws.push(flaw);
      return null;
    }
  };
  const marker = attempt(() => readMarker(markerPathOf(copy)));
  attempt(() => refuseRottenWal(copy));
  const database = attempt(() => openDatabase(copy, { wal: "as it is", keyPath }));
  try {
    return { databasePath, marker, ...(database === null ? NOTHING : contentsOf(database, attempt)), flaws };
  } finally {
    database?.close();
  }
}

type Contents = Omit<Inspection, "databasePath" | "marker" | "flaws">;

const NOTHING: Contents = {
  identity: null,
  hard: null,
  floor: null,
  last: null,
  brokenAt: null,
  applied: null,
  config: null,
  state: null,
};

/** What can be read, and (through `attempt`) everything that is wrong with it. */
function contentsOf(
  database: StoreDatabase,
  attempt: <Result>(look: () => Result) => Result | null,
): Contents {
  attempt(() => verifyRows(database.raw, database.path));
  const statements = attempt(() => prepareLog(database));
  if (statements === null) return NOTHING;
  attempt(() => verifyIdentity(database));
  attempt(() => refuseOtherKey(database));
  attempt(() => verifyLog(database, statements, "history"));
  const hardRow = attempt(() => statements.readHard.get());
  const floorRow = attempt(() => statements.readFloor.get());
  const floor = floorRow ? { index: floorRow.index as LogIndex, term: floorRow.term as Term } : null;
  const walk = floorRow && floor ? attempt(() => walkLog(database, statements, floor, floorRow.chain)) : null;
  return {
    identity: attempt(() => readIdentity(database)),
    hard: hardRow ? hardOf(hardRow) : null,
    floor,
    last: walk?.last ?? null,
    brokenAt: walk && walk.flaw !== null ? ((walk.last.index + 1) as LogIndex) : null,
    applied: (attempt(() => statements.readApplied.get())?.index as LogIndex | undefined) ?? null,
    config: walk?.configs.at(-1) ?? (floorRow ? attempt(() => floorConfigOf(floorRow)) : null),
    state: attempt(() => readState(database)),
  };
}

function recover(
  databasePath: string,
  { clusterId, followUp, rules }: RecoverInput,
  keyPath = storeKeyPathOf(databasePath),
): Recovered {
  const database = openDatabase(databasePath, { keyPath });
  try {
    const old = verifyIdentity(database);
    if (old === null) throw nothingThere(databasePath);
    if (old.clusterId === clusterId) {
      throw new StoreError(`the new group needs a cluster id of its own, but ${clusterId} is the old one`);
    }
    const store = new SqliteLogStore(database, rules);
    const { last: lastBefore, hard } = store.load();
    if (lastBefore.index === 0) throw nothingThere(databasePath);
    const identity: StoreIdentity = {
      clusterId,
      memberId: old.memberId,
      origin: "recover",
      promotableFrom: 0 as LogIndex,
      peers: [],
      recoveryEpoch: old.recoveryEpoch + 1,
    };
    const markerPath = markerPathOf(databasePath);
    writeMarker(markerPath, { ...markerOf(old), recoveringTo: clusterId });
    transactOnce(database, () => {
      adopt(store);
      append(store, identity.memberId, followUp);
      writeIdentity(database, identity);
    });
    writeMarker(markerPath, markerOf(identity));
    const adoptedCount = lastBefore.index - hard.commit;
    return { identity, lastBefore, adoptedCount, last: store.load().last, state: store.state };
  } finally {
    database.close();
  }
}

/** What is in the log counts, committed or not. */
function adopt(store: SqliteLogStore): void {
  const portion = 1000;
  const { last, hard } = store.load();
  commitAll(store, { hard: { term: nextTerm(hard.term), vote: null, commit: last.index } });
  while (store.appliedIndex < last.index) {
    const committed = store.read((store.appliedIndex + 1) as LogIndex, portion, Number.MAX_SAFE_INTEGER);
    commitAll(store, { committed });
  }
}

/** This member alone decides from here on, and says so. */
function append(store: SqliteLogStore, memberId: MemberId, followUp: FollowUp): void {
  const { last, hard } = store.load();
  const config = { voters: [memberId], outgoing: [], learners: [], learnersNext: [] };
  const data = [new TextEncoder().encode(JSON.stringify(config)), ...followUp(store.state)];
  const entries = data.map(
    (bytes, at): Entry => ({
      index: (last.index + 1 + at) as LogIndex,
      term: hard.term,
      kind: at === 0 ? "config" : "command",
      data: bytes,
    }),
  );
  const commit = (last.index + entries.length) as LogIndex;
  commitAll(store, { entries, committed: entries, hard: { ...hard, commit } });
}

function commitAll(store: SqliteLogStore, batch: Partial<Parameters<SqliteLogStore["commit"]>[0]>): void {
  store.commit({ snapshot: null, entries: [], hard: null, committed: [], mustSync: true, ...batch });
}

function nextTerm(term: Term): Term {
  return (term + 1) as Term;
}

/**
 * Runs `body` on a copy of the database and its marker, in a private directory that is gone afterwards. The key stays where
 * it is; a database that an earlier release wrote in clear has none yet, and gets none here.
 */
function onCopy<Result>(databasePath: string, body: (copy: string, keyPath: string) => Result): Result {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-copy-"));
  try {
    const copy = join(directory, basename(databasePath));
    copyFileSync(databasePath, copy);
    for (const [from, to] of [
      [`${databasePath}-wal`, `${copy}-wal`],
      [markerPathOf(databasePath), markerPathOf(copy)],
    ] as const) {
      if (existsSync(from)) copyFileSync(from, to);
    }
    const keyPath = storeKeyPathOf(databasePath);
    return body(copy, existsSync(keyPath) ? keyPath : storeKeyPathOf(copy));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function refuseMissing(databasePath: string): void {
  const size = statSync(databasePath, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) throw nothingThere(databasePath);
}

function nothingThere(databasePath: string): StoreError {
  return new StoreError(
    `there is no member in ${databasePath} to go on from: name the data directory of one that has taken part`,
  );
}

/** SQLite's bytes for locks. Whoever has the database open holds some of them, always. */
const LOCK_BYTES = { first: 0x4000_0000, last: 0x4000_0000 + 511 };

/**
 * A copy of a database that is being written would look damaged. The kernel knows who holds it; asking SQLite would mean
 * opening it, and that writes.
 */
function refuseUsed(databasePath: string): void {
  const { ino } = statSync(databasePath);
  for (const line of readFileSync("/proc/locks", "utf8").split("\n")) {
    const found = /:(?<inode>\d+) (?<start>\d+) (?:\d+|EOF)$/.exec(line)?.groups;
    const start = Number(found?.["start"]);
    if (Number(found?.["inode"]) !== ino || start < LOCK_BYTES.first || start > LOCK_BYTES.last) continue;
    throw new StoreError(`${databasePath} is in use by a running guacamole: stop that member first`);
  }
}
