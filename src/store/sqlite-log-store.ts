/**
 * Raft's disk: one SQLite file, one transaction per batch. After a crash the file holds a prefix of the committed
 * batches, each whole: log, promises, state machine and how far it got always belong together.
 */
import type { Statement } from "bun:sqlite";
import { assert, defined } from "../base/assert.ts";
import type { LogIndex, Term } from "../base/ids.ts";
import type { Outcome } from "../cluster/command.ts";
import type { StoredEvent } from "../cluster/consensus.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { Entry, EntryId, HardState, PlacedConfig } from "../raft/engine/message.ts";
import type { Applied, LogStore, StagedSnapshot, StoreBatch, StoredRaft } from "../raft/ports.ts";
import { freeBallast, makeBallast } from "./ballast.ts";
import { chainHash } from "./chain.ts";
import {
  checkpointIfDue,
  checkpointWhole,
  isDiskFull,
  refuseOtherKey,
  type StoreDatabase,
} from "./database.ts";
import { verifyLog } from "./log-check.ts";
import {
  appendEntry,
  entryOf,
  type LogStatements,
  prepareLog,
  writeApplied,
  writeFloor,
  writeHard,
} from "./log-rows.ts";
import { configOf } from "./placed-config.ts";
import { verifyRows } from "./row-checksum.ts";
import { readSnapshot, type SnapshotFile, writeSnapshotFile } from "./snapshot-file.ts";
import { readRows, replaceRows } from "./snapshot-rows.ts";
import type { StateHash } from "./state-hash.ts";
import { type Rules, StateMachine } from "./state-machine.ts";
import { DiskFullError, StoreError } from "./store-error.ts";
import { UNSYNCED_COMMITS_MAX } from "./wal-check.ts";

/** Where the log stands; replaced as a whole once a transaction is durable, or taken from the disk again. */
interface Position {
  floor: EntryId;
  floorConfig: PlacedConfig | null;
  floorChain: Uint8Array;
  /** Above the floor, ascending. */
  configs: readonly PlacedConfig[];
  last: EntryId;
  lastChain: Uint8Array;
  applied: LogIndex;
  hard: HardState;
}

export class SqliteLogStore implements LogStore {
  readonly #database: StoreDatabase;
  readonly #statements: LogStatements;
  readonly #begin: Statement<never, []>;
  readonly #commit: Statement<never, []>;
  readonly #machine: StateMachine;
  readonly #promotableFrom: LogIndex;
  #at: Position;
  #isSyncing = true;
  /** Commits since the latest one that waited for the disk. */
  #unsyncedCount = 0;
  #isBroken = false;

  /**
   * @param expected `beginning` only while the first entries are being written.
   * @throws {StoreError} if the database has no identity, or what it holds contradicts itself.
   */
  constructor(database: StoreDatabase, rules: Rules, expected: "history" | "beginning" = "history") {
    refuseOtherKey(database);
    if (expected === "history") verifyRows(database.raw, database.path);
    this.#database = database;
    this.#statements = prepareLog(database);
    this.#begin = database.raw.prepare("BEGIN IMMEDIATE");
    this.#commit = database.raw.prepare("COMMIT");
    const { stored, floorChain, lastChain, stateHash } = verifyLog(database, this.#statements, expected);
    this.#promotableFrom = stored.promotableFrom;
    this.#at = { ...stored, floorChain, lastChain };
    this.#machine = new StateMachine(database, rules, stored.applied, stateHash);
    if (expected === "history") makeBallast(database.path);
  }

  /** The agreed state as far as it is stored here; null before the first command. */
  get state(): ClusterState | null {
    return this.#machine.state;
  }

  get appliedIndex(): LogIndex {
    return this.#at.applied;
  }

  /** Sessions that are open, for people. */
  get sessionCount(): number {
    return this.#machine.sessionCount;
  }

  /** The hash of everything that was applied so far; null while the feature level is below 2. */
  stateHash(): StateHash | null {
    return this.#machine.stateHash();
  }

  /** The hash as it was after `index`; null where it is not known (any more). */
  stateHashAt(index: LogIndex): string | null {
    return this.#machine.stateHashAt(index);
  }

  /** Events after `afterId`, oldest first. */
  readEvents(afterId: number, countMax: number): readonly StoredEvent[] {
    return this.#machine.readEvents(afterId, countMax);
  }

  /** What became of the command of this id, if it is among the latest that were applied here; else null. */
  outcomeOf(commandId: string): Outcome | null {
    return this.#machine.outcomeOf(commandId);
  }

  load(): StoredRaft {
    const { floor, floorConfig, configs, last, applied, hard } = this.#at;
    return { floor, floorConfig, configs, last, applied, hard, promotableFrom: this.#promotableFrom };
  }

  read(first: LogIndex, countMax: number, bytesMax: number): readonly Entry[] {
    const entries: Entry[] = [];
    let bytes = 0;
    // In portions: a large log must not be read into memory for the sake of its first entries.
    while (entries.length < countMax) {
      const portion = Math.min(countMax - entries.length, 64);
      const rows = this.#statements.readLog.all(first + entries.length, portion);
      for (const row of rows) {
        const entry = entryOf(this.#database, row);
        if (entry === null) throw damagedEntry(this.#database, row.idx);
        bytes += entry.data.byteLength;
        if (entries.length > 0 && bytes > bytesMax) return entries;
        entries.push(entry);
      }
      if (rows.length < portion) break;
    }
    return entries;
  }

  termAt(index: LogIndex): Term | null {
    const { floor, last } = this.#at;
    if (index === floor.index) return floor.term;
    if (index === last.index) return last.term;
    if (index < floor.index || index > last.index) return null;
    return this.#placeInLog(index).term as Term;
  }

  /**
   * @throws {DiskFullError} if there was no room: nothing of the batch was stored, and the store can go on.
   * @throws whatever else the disk answers: then this store takes nothing more, and the process must end.
   */
  commit(batch: StoreBatch): readonly Applied[] {
    const { snapshot, entries, hard, mustSync } = batch;
    const isPromise = hard !== null && (hard.term !== this.#at.hard.term || hard.vote !== this.#at.hard.vote);
    assert(
      mustSync || (snapshot === null && entries.length === 0 && !isPromise),
      "entries, promises and snapshots wait for the disk",
    );
    return this.#transact(mustSync, () => {
      if (batch.snapshot !== null) this.#install(batch.snapshot);
      if (batch.entries.length > 0) this.#append(batch.entries);
      if (batch.hard !== null) this.#promise(batch.hard);
      assert(this.#at.hard.term >= this.#at.last.term, "no entry is of a term that is not known");
      return batch.committed.length > 0 ? this.#apply(batch.committed) : [];
    });
  }

  /** @throws {DiskFullError} and the like, as `commit` does. */
  compact(upTo: LogIndex): EntryId {
    assert(upTo <= this.#at.applied, "only what is applied is compacted away");
    if (upTo <= this.#at.floor.index) return this.#at.floor;
    // Losing a compaction in a power failure loses nothing.
    return this.#transact(false, () => {
      const { configs, floorConfig } = this.#at;
      const { term, chain } = this.#placeInLog(upTo);
      const floor: EntryId = { index: upTo, term: term as Term };
      const config = configs.findLast(({ index }) => index <= upTo) ?? floorConfig;
      writeFloor(this.#statements, floor, config, chain);
      this.#statements.forgetLog.run(upTo);
      this.#at.floor = floor;
      this.#at.floorConfig = config;
      this.#at.floorChain = chain;
      this.#at.configs = configs.filter(({ index }) => index > upTo);
      return floor;
    });
  }

  /**
   * Writes the state machine as of the applied index into a file: the same bytes on every member. Blocks until it is
   * durable under its name.
   *
   * @throws {DiskFullError} if there is no room; what had the name before still has it.
   */
  writeSnapshot(path: string): SnapshotFile {
    const { applied, configs, floorConfig } = this.#at;
    const config = configs.findLast(({ index }) => index <= applied) ?? floorConfig;
    const identity = defined(this.#statements.readIdentity.get(), "an open store has an identity");
    const header = {
      clusterId: identity.clusterId,
      index: applied,
      term: defined(this.termAt(applied), "the log holds what is applied last, or begins there"),
      config: defined(config, "who votes is known before anything is applied"),
      chain: Buffer.from(this.#chainAt(applied)).toString("hex"),
      stateHash: this.#machine.stateHash()?.hash ?? null,
    };
    try {
      return writeSnapshotFile(path, header, readRows(this.#database));
    } catch (error) {
      throw isDiskFull(error) ? new DiskFullError(path, { cause: error }) : error;
    }
  }

  /** Gives back the room that was kept for a full disk: enough to compact. False if it was given back before. */
  freeBallast(): boolean {
    return freeBallast(this.#database.path);
  }

  /** Copies the WAL into the database and gives its room back. Takes milliseconds: for idle moments, and full disks. */
  checkpoint(): void {
    assert(!this.#isBroken, "nothing is written after a failed commit");
    this.#sync(true);
    checkpointWhole(this.#database.raw);
  }

  /** Closes the database. Nothing may be called afterwards. */
  close(): void {
    this.#isBroken = true;
    this.#database.close();
  }

  #transact<Result>(mustSync: boolean, body: () => Result): Result {
    assert(!this.#isBroken, "nothing is written after a failed commit");
    this.#isBroken = true;
    const { raw } = this.#database;
    // The beginning of a database is one transaction, with its identity.
    const isPart = raw.inTransaction;
    const before = { ...this.#at };
    try {
      if (!isPart) {
        this.#sync(mustSync);
        this.#begin.run();
      }
      const result = body();
      this.#machine.flush();
      if (!isPart) {
        this.#commit.run();
        this.#unsyncedCount = this.#isSyncing ? 0 : this.#unsyncedCount + 1;
        checkpointIfDue(raw);
      }
      this.#isBroken = false;
      return result;
    } catch (error) {
      if (!isPart && raw.inTransaction) raw.run("ROLLBACK");
      if (!isDiskFull(error)) throw error;
      this.#at = before;
      this.#machine.reload(before.applied, this.#statements.readApplied.get()?.stateHash ?? null);
      this.#isBroken = false;
      throw new DiskFullError(this.#database.path, { cause: error });
    }
  }

  /**
   * Whether a commit waits for the disk. Without, a power failure takes back a suffix of the commits, never one from
   * among them: the WAL is read up to the first page that is not whole. Never more than a few, so that more than a few
   * are known to be damage (`wal-check.ts`).
   */
  #sync(isAsked: boolean): void {
    const mustSync = isAsked || this.#unsyncedCount >= UNSYNCED_COMMITS_MAX;
    if (mustSync === this.#isSyncing) return;
    // Not prepared: SQLite carries this out while it prepares the statement, and only then.
    this.#database.raw.run(`PRAGMA synchronous = ${mustSync ? "FULL" : "NORMAL"}`);
    this.#isSyncing = mustSync;
  }

  #install({ meta, content }: StagedSnapshot): void {
    assert(typeof content === "string", "a staged snapshot is a file");
    const identity = defined(this.#statements.readIdentity.get(), "an open store has an identity");
    const { header, records } = readSnapshot(content, identity.clusterId);
    assert(
      header.index === meta.index && header.term === meta.term && header.config.index === meta.config.index,
      "the snapshot is the one that was announced",
    );
    assert(meta.index > this.#at.applied, "a snapshot never takes the state back");
    replaceRows(this.#database, records);
    const chain = Buffer.from(header.chain, "hex");
    const stateHash = header.stateHash === null ? null : Buffer.from(header.stateHash, "hex");
    this.#statements.truncateLog.run(0);
    const floor: EntryId = { index: meta.index, term: meta.term };
    writeFloor(this.#statements, floor, meta.config, chain);
    writeApplied(this.#statements, meta.index, stateHash);
    this.#at = {
      floor,
      floorConfig: meta.config,
      floorChain: chain,
      configs: [],
      last: floor,
      lastChain: chain,
      applied: meta.index,
      hard: this.#at.hard,
    };
    this.#machine.reload(meta.index, stateHash);
  }

  #promise(hard: HardState): void {
    assert(hard.commit <= this.#at.last.index, "nothing is committed that the log does not hold");
    writeHard(this.#statements, hard);
    this.#at.hard = hard;
  }

  #apply(committed: readonly Entry[]): readonly Applied[] {
    const replies: Applied[] = [];
    for (const entry of committed) {
      assert(entry.index === this.#at.applied + 1, "entries are applied in order, each once");
      assert(entry.index <= this.#at.last.index, "only what the log holds is applied");
      const reply = this.#machine.apply(entry);
      if (reply !== null) replies.push({ index: entry.index, term: entry.term, reply });
      this.#at.applied = entry.index;
    }
    writeApplied(this.#statements, this.#at.applied, this.#machine.hashBytes);
    return replies;
  }

  /** Drops what conflicts, from the first conflicting index on only, and appends what is not there yet. */
  #append(entries: readonly Entry[]): void {
    const { floor, last } = this.#at;
    const first = defined(entries[0], "an append has an entry");
    assert(first.index > floor.index, "what was compacted away is never written again");
    assert(first.index <= last.index + 1, "the log has no gap");
    const start = entries.findIndex(({ index, term }) => index > last.index || this.termAt(index) !== term);
    const head = entries[start];
    if (head === undefined) return;
    assert(head.index > this.#at.applied, "what was applied is never replaced");
    let chain = this.#chainAt((head.index - 1) as LogIndex);
    const configs = this.#at.configs.filter(({ index }) => index < head.index);
    if (head.index <= last.index) this.#statements.truncateLog.run(head.index);
    let tail: EntryId = { index: (head.index - 1) as LogIndex, term: head.term };
    for (const entry of entries.slice(start)) {
      const { index, term } = entry;
      assert(index === tail.index + 1, "the log has no gap");
      chain = chainHash(chain, entry);
      appendEntry(this.#database, this.#statements, entry, chain);
      const config = configOf(entry);
      if (config !== null) configs.push(config);
      tail = { index, term };
    }
    this.#at.last = tail;
    this.#at.lastChain = chain;
    this.#at.configs = configs;
  }

  #chainAt(index: LogIndex): Uint8Array {
    if (index === this.#at.last.index) return this.#at.lastChain;
    if (index === this.#at.floor.index) return this.#at.floorChain;
    return this.#placeInLog(index).chain;
  }

  #placeInLog(index: LogIndex): { readonly term: number; readonly chain: Uint8Array } {
    return defined(this.#statements.placeAt.get(index), "the log has no gap");
  }
}

/** It was whole when the member started. */
function damagedEntry({ path }: StoreDatabase, index: number): StoreError {
  return new StoreError(
    `entry ${index} of the log in ${path} is not what was written. Do not repair it by hand: remove this member from the cluster, and let the host join as a new one with an empty data directory`,
  );
}
