import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type ClusterId, parseClusterId } from "../base/ids.ts";
import { writeDurably } from "./durable-file.ts";

/**
 * What a data directory is, by its files alone: absent, ours (it carries our mark), or something that is never touched.
 */
export type DirectoryContents =
  | { readonly kind: "absent" }
  | { readonly kind: "foreign"; readonly detail: string }
  | { readonly kind: "ours"; readonly clusterId: ClusterId };

/** Lies in the data directory, so that it goes where the data goes: into base backups, and aside with the directory. */
export const MARKER = "guacamole.json";

/** Looks at the files only. `major` is that of the programs: data of another major is not touched. */
export function inspectDataDirectory(dataDirectory: string, major: number): DirectoryContents {
  let names: readonly string[];
  try {
    names = readdirSync(dataDirectory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { kind: "absent" };
    return { kind: "foreign", detail: `${dataDirectory} cannot be read: ${String(error)}` };
  }
  if (names.length === 0) return { kind: "absent" };
  if (!names.includes("PG_VERSION")) {
    return {
      kind: "foreign",
      detail: `${dataDirectory} holds files, but no PostgreSQL (${names.slice(0, 3).join(", ")})`,
    };
  }
  if (!names.includes(MARKER)) {
    return { kind: "foreign", detail: `${dataDirectory} holds a PostgreSQL that no guacamole cluster made` };
  }
  const clusterId = readMarker(dataDirectory);
  if (clusterId === null) {
    return { kind: "foreign", detail: `${join(dataDirectory, MARKER)} does not name a cluster` };
  }
  const version = readFileSync(join(dataDirectory, "PG_VERSION"), "utf8").trim();
  if (version !== String(major)) {
    return {
      kind: "foreign",
      detail: `${dataDirectory} is PostgreSQL ${version}'s, but the programs are PostgreSQL ${major}'s; set postgres.bin-dir`,
    };
  }
  return { kind: "ours", clusterId };
}

function readMarker(dataDirectory: string): ClusterId | null {
  try {
    const marker: unknown = JSON.parse(readFileSync(join(dataDirectory, MARKER), "utf8"));
    if (typeof marker !== "object" || marker === null || !("clusterId" in marker)) return null;
    const clusterId = typeof marker.clusterId === "string" ? parseClusterId(marker.clusterId) : null;
    return clusterId?.ok ? clusterId.value : null;
  } catch {
    // Unreadable is as good as unmarked: the caller says so, and nothing touches the directory.
    return null;
  }
}

/** Says which cluster the directory belongs to. From here on it is not `foreign`. */
export function markDataDirectory(dataDirectory: string, clusterId: ClusterId): void {
  writeDurably(join(dataDirectory, MARKER), `${JSON.stringify({ clusterId })}\n`, 0o600);
}

/** PostgreSQL comes up as a standby, whatever it was: only an appointment makes a primary. */
export function ensureStandbySignal(dataDirectory: string): void {
  const file = join(dataDirectory, "standby.signal");
  if (!existsSync(file)) writeDurably(file, "", 0o600);
}

/** For the one start that is none of a standby: of a primary that has just ended cleanly, under the same reign. */
export function removeStandbySignal(dataDirectory: string): void {
  rmSync(join(dataDirectory, "standby.signal"), { force: true });
}

/** True from a start on until a promotion is complete: PostgreSQL removes the file itself. */
export function isStandby(dataDirectory: string): boolean {
  return existsSync(join(dataDirectory, "standby.signal"));
}

/** The directory as the kernel shows it in `/proc/<pid>/cwd`. */
export function resolvedDirectory(directory: string): string {
  return existsSync(directory) ? realpathSync(directory) : directory;
}
