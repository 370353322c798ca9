/**
 * Gives a database its identity, once: by forming a control plane or by joining one. Everything that belongs to the
 * beginning is one transaction; the marker beside the database is written right after.
 */
import { existsSync, statSync } from "node:fs";
import type { ClusterId, LogIndex, MemberId } from "../base/ids.ts";
import type { Entry } from "../raft/engine/message.ts";
import { openDatabase, type StoreDatabase, transactOnce } from "./database.ts";
import { beginLog } from "./log-rows.ts";
import { type Marker, markerPathOf, readMarker, writeMarker } from "./marker.ts";
import { rowChecksum } from "./row-checksum.ts";
import { raftIdentity } from "./schema.ts";
import { SqliteLogStore } from "./sqlite-log-store.ts";
import type { Rules } from "./state-machine.ts";
import { StoreError } from "./store-error.ts";

/** A member that can be reached before the log says where it is. */
export interface KnownPeer {
  readonly id: MemberId;
  /** host:port of its peer transport. */
  readonly address: string;
}

export interface StoreIdentity extends Marker {
  readonly promotableFrom: LogIndex;
  readonly peers: readonly KnownPeer[];
  /** How often a new group was forced from what was left of the old one. */
  readonly recoveryEpoch: number;
}

/**
 * Who this data directory belongs to; null where it is still free. Takes the database for a moment: call it before the
 * worker starts, not while it runs.
 *
 * @throws {StoreError} if the marker says that there was a member and the database has forgotten it, or if the two
 *   disagree.
 */
export function loadIdentity(databasePath: string): StoreIdentity | null {
  const markerPath = markerPathOf(databasePath);
  const marker = readMarker(markerPath);
  const isEmpty = !existsSync(databasePath) || statSync(databasePath).size === 0;
  if (isEmpty) {
    if (marker === null) return null;
    throw forgotten(databasePath, markerPath, marker);
  }
  const database = openDatabase(databasePath);
  try {
    return verifyIdentity(database);
  } finally {
    database.close();
  }
}

/**
 * The identity of an open database, held against the marker. A crash between the two writes leaves a database without a
 * marker: then the marker is written now.
 *
 * @throws {StoreError} see `loadIdentity`.
 */
export function verifyIdentity(database: StoreDatabase): StoreIdentity | null {
  const markerPath = markerPathOf(database.path);
  const marker = readMarker(markerPath);
  const identity = readIdentity(database);
  if (identity === null) {
    if (marker === null) return null;
    throw forgotten(database.path, markerPath, marker);
  }
  if (marker === null || isRecoveryCut(marker, identity)) {
    writeMarker(markerPath, markerOf(identity));
  } else if (marker.clusterId !== identity.clusterId) {
    throw new StoreError(
      `${database.path} belongs to cluster ${identity.clusterId}, but ${markerPath} says cluster ${marker.clusterId}: the database was taken from another cluster. Put the right one back`,
    );
  } else if (marker.memberId !== identity.memberId) {
    throw new StoreError(
      `${database.path} belongs to member ${identity.memberId}, but ${markerPath} says member ${marker.memberId}: the database was copied from another member. Put the right one back, or join as a new member with an empty data directory`,
    );
  }
  return identity;
}

export interface FormInput {
  readonly databasePath: string;
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** The configuration with one voter, and the `form` command; of term 1. */
  readonly entries: readonly Entry[];
  readonly rules: Rules;
}

/**
 * Makes this the first member of a new control plane. Its first entries are committed by definition (there is one
 * voter), so the state stands as soon as this returns.
 *
 * @throws {StoreError} if the data directory has a history.
 */
export function formStore(input: FormInput): StoreIdentity {
  const identity: StoreIdentity = {
    clusterId: input.clusterId,
    memberId: input.memberId,
    origin: "form",
    promotableFrom: 0 as LogIndex,
    peers: [],
    recoveryEpoch: 0,
  };
  beginStore(input.databasePath, identity, (database) => {
    const last = input.entries.at(-1);
    if (last === undefined) throw new StoreError("a control plane is formed with at least its configuration");
    const store = new SqliteLogStore(database, input.rules, "beginning");
    store.commit({
      snapshot: null,
      entries: input.entries,
      hard: { term: last.term, vote: null, commit: last.index },
      committed: input.entries,
      mustSync: true,
    });
  });
  return identity;
}

export interface JoinInput {
  readonly databasePath: string;
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** The leader's last index when it admitted us: older configurations are replayed, not followed. */
  readonly promotableFrom: LogIndex;
  readonly peers: readonly KnownPeer[];
  /** Of the group that is joined. Absent: it was never recovered. */
  readonly recoveryEpoch?: number;
}

/**
 * Makes this a member of an existing control plane, with an empty log that the leader fills.
 *
 * @throws {StoreError} if the data directory has a history.
 */
export function joinStore(input: JoinInput): StoreIdentity {
  const { databasePath, recoveryEpoch = 0, ...rest } = input;
  const identity: StoreIdentity = { ...rest, origin: "join", recoveryEpoch };
  beginStore(databasePath, identity, null);
  return identity;
}

/**
 * Gives an empty database its identity, and in the same transaction whatever `fill` adds.
 *
 * @throws {StoreError} if the data directory has a history, or the disk is full.
 */
export function beginStore(
  path: string,
  identity: StoreIdentity,
  fill: ((database: StoreDatabase) => void) | null,
): void {
  const before = loadIdentity(path);
  if (before !== null) {
    throw new StoreError(
      `${path} already belongs to member ${before.memberId} of cluster ${before.clusterId}: a data directory forms or joins once. Use an empty one for a new member`,
    );
  }
  const database = openDatabase(path);
  try {
    transactOnce(database, () => {
      writeIdentity(database, identity);
      beginLog(database);
      fill?.(database);
    });
    writeMarker(markerPathOf(path), markerOf(identity));
  } finally {
    database.close();
  }
}

/** Writes the identity, inside the caller's transaction. The marker is the caller's to write. */
export function writeIdentity({ drizzle }: StoreDatabase, identity: StoreIdentity): void {
  const { clusterId, memberId, origin, promotableFrom, recoveryEpoch } = identity;
  const peers = JSON.stringify(identity.peers);
  const checksum = rowChecksum(
    "raft_identity",
    clusterId,
    memberId,
    origin,
    promotableFrom,
    peers,
    recoveryEpoch,
  );
  const row = { clusterId, memberId, origin, promotableFrom, peers, recoveryEpoch, checksum };
  drizzle
    .insert(raftIdentity)
    .values({ id: 0, ...row })
    .onConflictDoUpdate({ target: raftIdentity.id, set: row })
    .run();
}

/** The identity as the database has it, held against nothing. */
export function readIdentity(database: StoreDatabase): StoreIdentity | null {
  const row = database.drizzle.select().from(raftIdentity).get();
  if (row === undefined) return null;
  return {
    clusterId: row.clusterId as ClusterId,
    memberId: row.memberId as MemberId,
    origin: row.origin,
    promotableFrom: row.promotableFrom as LogIndex,
    peers: JSON.parse(row.peers) as readonly KnownPeer[],
    recoveryEpoch: row.recoveryEpoch,
  };
}

/** A crash in the middle of a recovery: the transaction has happened or has not, and the database knows. */
function isRecoveryCut(marker: Marker, identity: StoreIdentity): boolean {
  const { recoveringTo, clusterId, memberId } = marker;
  if (recoveringTo === undefined || memberId !== identity.memberId) return false;
  return identity.clusterId === recoveringTo || identity.clusterId === clusterId;
}

/** What the marker beside a database of this identity says. */
export function markerOf({ clusterId, memberId, origin }: StoreIdentity): Marker {
  return { clusterId, memberId, origin };
}

function forgotten(databasePath: string, markerPath: string, marker: Marker): StoreError {
  return new StoreError(
    `${markerPath} says that this is member ${marker.memberId} of cluster ${marker.clusterId}, but ${databasePath} is empty or gone: its promises are lost, so it must not take part again. Put the database back, or remove this member from the cluster, empty the data directory and join as a new member`,
  );
}
