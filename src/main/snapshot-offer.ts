/** What a leader says of a snapshot before a follower pulls its bytes. */
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { ClusterConfig, SnapshotMeta } from "../raft/engine/message.ts";

export const OFFER_METHOD = "snapshot.offer";
/** On the bulk connection: `{ id, offset }`, answered with bytes. */
export const READ_METHOD = "snapshot.read";
/** The follower is through with it: `{ id, error }`. */
export const DONE_METHOD = "snapshot.done";

export const CHUNK_BYTES = 256 * 1024;
/** A larger state than this is none of ours. */
export const SNAPSHOT_BYTES_MAX = 1024 * 1024 * 1024;

export interface SnapshotOffer {
  /** SHA-256 of the file, hexadecimal: the same state has the same name on every member. */
  readonly id: string;
  readonly bytes: number;
  /** Of the leader that offers it. */
  readonly term: Term;
  readonly meta: SnapshotMeta;
}

/** Null for what is none: it came over the network. */
export function parseOffer(value: unknown): SnapshotOffer | null {
  const { id, bytes, term, meta } = asRecord(value);
  if (typeof id !== "string" || !/^[0-9a-f]{64}$/.test(id)) return null;
  if (!isCount(bytes) || bytes === 0 || bytes > SNAPSHOT_BYTES_MAX || !isCount(term)) return null;
  const { index: metaIndex, term: metaTerm, config } = asRecord(meta);
  const { index: configIndex, config: members } = asRecord(config);
  if (!isCount(metaIndex) || !isCount(metaTerm) || !isCount(configIndex)) return null;
  const { voters, outgoing, learners, learnersNext } = asRecord(members);
  if (!isIds(voters) || !isIds(outgoing) || !isIds(learners) || !isIds(learnersNext)) return null;
  const found: ClusterConfig = { voters, outgoing, learners, learnersNext };
  return {
    id,
    bytes,
    term: term as Term,
    meta: {
      index: metaIndex as LogIndex,
      term: metaTerm as Term,
      config: { index: configIndex as LogIndex, config: found },
    },
  };
}

/** Null for what is no question for a chunk. */
export function parseRead(value: unknown): { readonly id: string; readonly offset: number } | null {
  const { id, offset } = asRecord(value);
  return typeof id === "string" && isCount(offset) ? { id, offset } : null;
}

/** Null for what is no such report. */
export function parseDone(value: unknown): { readonly id: string; readonly error: string | null } | null {
  const { id, error } = asRecord(value);
  if (typeof id !== "string") return null;
  return { id, error: typeof error === "string" ? error : null };
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isIds(value: unknown): value is readonly MemberId[] {
  return Array.isArray(value) && value.every((id) => typeof id === "string");
}
