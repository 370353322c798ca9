/**
 * What members tell each other of themselves, as JSON, with ages instead of times: no clock is compared across hosts.
 */
import { type LogIndex, type MemberId, parseMemberId } from "../base/ids.ts";
import type { StateHash } from "../cluster/consensus.ts";
import type { MemberStatus, PostgresStatus, Promises } from "../cluster/observation.ts";
import { MalformedError } from "./malformed.ts";

/** What a member measures of its machine and of what it applied, with each status. */
export interface HostReport {
  /** The slowest commit of the last ten seconds. */
  readonly commitWorstMs: number;
  /** 99 of 100 wake-ups of the last ten seconds were at most this late. */
  readonly latenessMs: number;
  readonly isDiskFull: boolean;
  /** The agreed state as applied there; null where it keeps no hash. */
  readonly stateHash: StateHash | null;
}

/** A member's status, and how long ago it was true when it was sent. */
export interface AgedStatus {
  readonly status: MemberStatus;
  readonly ageMs: number;
  /** Null from a member of release 0.1.0. */
  readonly host: HostReport | null;
}

/** What the leader knows of a member, for the others. */
export interface DigestEntry {
  readonly status: MemberStatus;
  readonly statusAgeMs: number;
  readonly heardAgeMs: number;
  readonly isConnected: boolean;
}

const POSTGRES_KINDS: ReadonlySet<string> = new Set<PostgresStatus["kind"]>([
  "unknown",
  "witness",
  "absent",
  "foreign",
  "stopped",
  "starting",
  "unresponsive",
  "standby",
  "primary",
]);

/** @throws {MalformedError} if it is not the status of `from`. */
export function parseAgedStatus(value: unknown, from: MemberId): AgedStatus {
  const { status, ageMs, host } = record(value, "a status");
  const parsed = parseStatus(status);
  if (parsed.memberId !== from) throw new MalformedError(`a status of ${parsed.memberId}, sent by ${from}`);
  return { status: parsed, ageMs: duration(ageMs), host: (host ?? null) === null ? null : parseHost(host) };
}

function parseHost(value: unknown): HostReport {
  const { commitWorstMs, latenessMs, isDiskFull, stateHash } = record(value, "a status' host");
  if (typeof isDiskFull !== "boolean") throw new MalformedError("a host without isDiskFull");
  return {
    commitWorstMs: duration(commitWorstMs),
    latenessMs: duration(latenessMs),
    isDiskFull,
    stateHash: stateHash === null ? null : parseStateHash(record(stateHash, "a state's hash")),
  };
}

function parseStateHash(value: Record<string, unknown>): StateHash {
  count(value, "index");
  return { index: value["index"] as LogIndex, hash: text(value, "hash") };
}

/** @throws {MalformedError} if it is not a digest. */
export function parseDigest(value: unknown): readonly DigestEntry[] {
  if (!Array.isArray(value)) throw new MalformedError("a digest that is not a list");
  return value.map((item: unknown) => {
    const { status, statusAgeMs, heardAgeMs, isConnected } = record(item, "a digest's entry");
    if (typeof isConnected !== "boolean") throw new MalformedError("a digest's entry without isConnected");
    return {
      status: parseStatus(status),
      statusAgeMs: duration(statusAgeMs),
      heardAgeMs: duration(heardAgeMs),
      isConnected,
    };
  });
}

/**
 * Checks what the receiver steers by: who, which life, the order, the kind of PostgreSQL, the promises, the numbers that
 * are compared. The rest is shown to people.
 */
function parseStatus(value: unknown): MemberStatus {
  const status = record(value, "a status");
  const id = parseMemberId(text(status, "memberId"));
  if (!id.ok) throw new MalformedError(id.error);
  text(status, "bootId");
  if (status["life"] !== undefined) count(status, "life");
  count(status, "sequence");
  text(status, "reason");
  text(status, "version");
  const postgres = record(status["postgres"], "a status' postgres");
  const kind = text(postgres, "kind");
  if (!POSTGRES_KINDS.has(kind)) throw new MalformedError(`a PostgreSQL of unknown kind '${kind}'`);
  if (kind === "standby") counts(postgres, ["timeline", "receivedLsn", "replayedLsn"]);
  if (kind === "stopped") counts(postgres, ["timeline", "checkpointLsn"]);
  if (kind === "primary") {
    counts(postgres, ["timeline", "writtenLsn", "checkpointTimeline"]);
    const synchronous = record(postgres["synchronous"], "a primary's synchronous");
    text(synchronous, "names");
    count(synchronous, "sinceLsn");
    for (const name of ["ancestors", "standbys"]) {
      if (!Array.isArray(postgres[name])) throw new MalformedError(`a primary without ${name}`);
    }
  }
  const promises = record(status["promises"], "a status' promises");
  counts(promises, ["newestEpoch", "pledgedEpoch", "walEpoch"] satisfies readonly (keyof Promises)[]);
  return value as MemberStatus;
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MalformedError(`${what} that is not an object`);
  }
  return value as Record<string, unknown>;
}

function text(from: Record<string, unknown>, name: string): string {
  const value = from[name];
  if (typeof value !== "string") throw new MalformedError(`a status whose ${name} is not a text`);
  return value;
}

function count(from: Record<string, unknown>, name: string): void {
  const value = from[name];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new MalformedError(`a status whose ${name} is not a count`);
  }
}

function counts(from: Record<string, unknown>, names: readonly string[]): void {
  for (const name of names) count(from, name);
}

function duration(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw new MalformedError("an age that is not a duration");
  }
  return value;
}
