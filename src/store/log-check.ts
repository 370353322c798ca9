/**
 * The look at the whole log before a member starts on it: one that contradicts itself is refused, better one member less
 * than a wrong one. Nothing is ever cut off to make it fit: the suffix may have been acknowledged.
 */
import type { LogIndex, Term } from "../base/ids.ts";
import type { Entry, EntryId, PlacedConfig } from "../raft/engine/message.ts";
import type { StoredRaft } from "../raft/ports.ts";
import { chainHash } from "./chain.ts";
import type { StoreDatabase } from "./database.ts";
import { entryOf, hardOf, type LogRow, type LogStatements } from "./log-rows.ts";
import { configOf, floorConfigOf } from "./placed-config.ts";
import { StoreError } from "./store-error.ts";

export interface VerifiedLog {
  readonly stored: StoredRaft;
  readonly floorChain: Uint8Array;
  readonly lastChain: Uint8Array;
  readonly stateHash: Uint8Array | null;
}

/**
 * @param expected `beginning` only while the first entries are being written.
 * @throws {StoreError} naming the first thing that is wrong.
 */
export function verifyLog(
  database: StoreDatabase,
  statements: LogStatements,
  expected: "history" | "beginning",
): VerifiedLog {
  const { path } = database;
  const refuse = (what: string): never => {
    throw new StoreError(
      `the log in ${path} is damaged: ${what}. Do not repair it by hand: remove this member from the cluster, and let the host join as a new one with an empty data directory`,
    );
  };
  const identity = statements.readIdentity.get();
  const hardRow = statements.readHard.get();
  const floorRow = statements.readFloor.get();
  const appliedRow = statements.readApplied.get();
  if (identity === undefined) throw new StoreError(`${path} belongs to no member yet: form or join first`);
  if (hardRow === undefined) return refuse("the term and vote are missing");
  if (floorRow === undefined) return refuse("the beginning of the log is missing");
  if (appliedRow === undefined) return refuse("how far it was applied is missing");

  const floor: EntryId = { term: floorRow.term as Term, index: floorRow.index as LogIndex };
  const { last, lastChain, configs, flaw } = walkLog(database, statements, floor, floorRow.chain);
  if (flaw !== null) refuse(flaw);
  // Rows below the floor would be a second beginning.
  if (statements.anyBelow.get({ index: floor.index + 1 }) !== undefined)
    refuse("entries lie below its beginning");

  const hard = hardOf(hardRow);
  const applied = appliedRow.index as LogIndex;
  if (applied < floor.index) refuse(`applied up to ${applied}, but the log begins after ${floor.index}`);
  if (applied > last.index) refuse(`applied up to ${applied}, but the log ends at ${last.index}`);
  if (hard.commit > last.index) refuse(`committed up to ${hard.commit}, but the log ends at ${last.index}`);
  if (last.term > hard.term)
    refuse(`it holds an entry of term ${last.term}, but only term ${hard.term} is known`);
  const floorConfig = floorConfigOf(floorRow);
  // A joiner begins with nothing; its first entries bring the configuration.
  const isFresh = last.index === 0 && (identity.origin === "join" || expected === "beginning");
  if (floorConfig === null && configs.length === 0 && !isFresh) refuse("no configuration says who votes");
  const promotableFrom = identity.promotableFrom as LogIndex;
  return {
    stored: { hard, floor, floorConfig, configs, last, applied, promotableFrom },
    floorChain: floorRow.chain,
    lastChain,
    stateHash: appliedRow.stateHash,
  };
}

interface Walk {
  /** As far as the log is whole. */
  readonly last: EntryId;
  readonly lastChain: Uint8Array;
  readonly configs: readonly PlacedConfig[];
  /** What is wrong with the next entry; null at the end of the log. */
  readonly flaw: string | null;
}

/** Follows the hash chain from the floor to the end, or to the first entry that is not what was written. */
export function walkLog(
  database: StoreDatabase,
  statements: LogStatements,
  floor: EntryId,
  floorChain: Uint8Array,
): Walk {
  const portion = 1024;
  const configs: PlacedConfig[] = [];
  let last = floor;
  let chain = floorChain;
  for (;;) {
    const rows = statements.readLog.all(last.index + 1, portion);
    for (const row of rows) {
      const link = linkOf(database, row, last, chain);
      if (typeof link === "string") return { last, lastChain: chain, configs, flaw: link };
      const { entry } = link;
      const config = configOf(entry);
      if (config !== null) configs.push(config);
      chain = link.chain;
      last = { term: entry.term, index: entry.index };
    }
    if (rows.length < portion) return { last, lastChain: chain, configs, flaw: null };
  }
}

interface Link {
  readonly entry: Entry;
  /** The hash chain at this entry. */
  readonly chain: Uint8Array;
}

/** The entry of a row that follows `last`, or what is wrong with it. */
function linkOf(database: StoreDatabase, row: LogRow, last: EntryId, before: Uint8Array): Link | string {
  if (row.idx !== last.index + 1) return `entry ${last.index + 1} is missing`;
  if (row.term < last.term) return `the term of entry ${row.idx} is older than that of the one before`;
  // A damaged row may have values of another type than its columns.
  const entry = row.chain instanceof Uint8Array ? entryOf(database, row) : null;
  const chain = entry === null ? null : chainHash(before, entry);
  if (entry === null || chain === null || !Buffer.from(chain).equals(row.chain))
    return `entry ${row.idx} is not what was written (hash chain)`;
  return { entry, chain };
}
