import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { TimelineId } from "../base/ids.ts";
import { parseLsn } from "../base/lsn.ts";
import type { Ancestor } from "../cluster/observation.ts";

/**
 * Reads a timeline's `.history` file: which timelines it grew out of, oldest first, and where each was left.
 *
 * Lines are `<timeline> <lsn> <reason>`; empty lines and `#` comments are passed over, as PostgreSQL does.
 */
export function parseTimelineHistory(text: string): readonly Ancestor[] {
  const ancestors: Ancestor[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    if (match === null) continue;
    const endLsn = parseLsn(match[2] ?? "");
    if (endLsn.ok) ancestors.push({ timeline: Number(match[1]) as TimelineId, endLsn: endLsn.value });
  }
  return ancestors;
}

/** For instance `0000001A.history`. */
export function historyFileName(timeline: TimelineId): string {
  return `${timeline.toString(16).toUpperCase().padStart(8, "0")}.history`;
}

/** The ancestors of `timeline` as this data directory knows them; none for the first timeline. */
export function readAncestors(dataDirectory: string, timeline: TimelineId): readonly Ancestor[] {
  const file = join(dataDirectory, "pg_wal", historyFileName(timeline));
  return existsSync(file) ? parseTimelineHistory(readFileSync(file, "utf8")) : [];
}

/** The newest timeline that has a history file here; null on the first timeline. */
export function newestHistory(dataDirectory: string): TimelineId | null {
  const timelines = readdirSync(join(dataDirectory, "pg_wal"))
    .map((name) => /^([0-9A-F]{8})\.history$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map((digits) => Number.parseInt(digits, 16));
  return timelines.length === 0 ? null : (Math.max(...timelines) as TimelineId);
}
