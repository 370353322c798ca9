import { assert, defined } from "../../base/assert.ts";
import type { LogIndex, MemberId } from "../../base/ids.ts";
import type { ClusterConfig, Entry, PlacedConfig } from "./message.ts";
import { votersOf } from "./quorum.ts";

/** Nobody votes: what a member that has not been told anything yet starts from. It can only listen. */
export const EMPTY_CONFIG: ClusterConfig = { voters: [], outgoing: [], learners: [], learnersNext: [] };

/**
 * Which configuration counts.
 *
 * A configuration counts from the moment its entry is *appended*, committed or not, and no longer once the entry is
 * truncated. So the newest committed one and all later ones are kept: a follower that is far behind with its commit index
 * may hold several, and each truncation falls back to the one before.
 *
 * (Counting from the moment of *applying* instead leaves clusters without any electable member: etcd #10563, #12359.)
 */
export class Membership {
  /** Ascending. The first is the newest that is committed. */
  #placed: PlacedConfig[];

  /** @param above what the log holds above its floor, ascending. */
  constructor(floor: PlacedConfig, above: readonly PlacedConfig[] = []) {
    this.#placed = [floor, ...above];
  }

  get latest(): PlacedConfig {
    return defined(this.#placed.at(-1), "there is always a configuration");
  }

  get committed(): PlacedConfig {
    return defined(this.#placed[0], "there is always a configuration");
  }

  /**
   * Votes in the latest configuration, or in one before it that may still turn out to count. Whoever is removed by a
   * change that is not committed must campaign if need be: it may be the only one with a log that the others can vote for
   * (thesis §4.2.2, figure 4.6).
   */
  countsAsVoter(id: MemberId): boolean {
    return this.#placed.some(({ config }) => votersOf(config).includes(id));
  }

  /** Follows `RaftLog.append`: forgets what is overwritten, takes up what is new. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index > this.committed.index, "a committed configuration is never overwritten");
    this.#placed = this.#placed.filter(({ index }) => index < first.index);
    for (const entry of entries) {
      if (entry.kind === "config")
        this.#placed.push({ index: entry.index, config: decodeConfig(entry.data) });
    }
  }

  /** A snapshot replaces the log, and with it whatever was believed of the group. */
  restore(placed: PlacedConfig): void {
    this.#placed = [placed];
  }

  commitTo(index: LogIndex): void {
    const newest = this.#placed.findLastIndex((placed) => placed.index <= index);
    if (newest > 0) this.#placed.splice(0, newest);
  }
}

/** A configuration as an entry of the log holds it: JSON in UTF-8. `decodeConfig` reads it back. */
export function encodeConfig(config: ClusterConfig): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(config));
}

/** @throws {AssertionError} if these bytes are not what `encodeConfig` makes: the log is ours, so the log is broken. */
export function decodeConfig(data: Uint8Array): ClusterConfig {
  const value: unknown = JSON.parse(new TextDecoder().decode(data));
  assert(typeof value === "object" && value !== null, "a configuration entry holds a configuration");
  return {
    voters: memberIds("voters" in value ? value.voters : null),
    outgoing: memberIds("outgoing" in value ? value.outgoing : null),
    learners: memberIds("learners" in value ? value.learners : null),
    // Release 0.1.0 knew no joint configurations.
    learnersNext: memberIds("learnersNext" in value ? value.learnersNext : []),
  };
}

function memberIds(value: unknown): readonly MemberId[] {
  assert(
    Array.isArray(value) && value.every((id) => typeof id === "string"),
    "a configuration names its members",
  );
  return value as MemberId[];
}
