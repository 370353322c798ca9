import type { LogIndex } from "../base/ids.ts";
import type { ClusterConfig, Entry, PlacedConfig } from "../raft/engine/message.ts";

/** The configuration that an entry brought; null for an entry of another kind. */
export function configOf(entry: Entry): PlacedConfig | null {
  if (entry.kind !== "config") return null;
  return { index: entry.index, config: parseConfig(new TextDecoder().decode(entry.data)) };
}

/** A configuration from the log or the floor. Release 0.1.0 knew no `learnersNext`. */
export function parseConfig(json: string): ClusterConfig {
  const config = JSON.parse(json) as Omit<ClusterConfig, "learnersNext"> & Partial<ClusterConfig>;
  return {
    voters: config.voters,
    outgoing: config.outgoing,
    learners: config.learners,
    learnersNext: config.learnersNext ?? [],
  };
}

/** The configuration of the floor's row; null where none was ever stored. */
export function floorConfigOf(row: {
  readonly index: number;
  readonly config: string | null;
  readonly configIndex: number | null;
}): PlacedConfig | null {
  if (row.config === null) return null;
  return { index: (row.configIndex ?? row.index) as LogIndex, config: parseConfig(row.config) };
}
