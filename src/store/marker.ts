/**
 * A note beside the database that this member once formed or joined. If the database is gone and the note is not, the
 * member has forgotten its promises: it must never form or join again under the same identity.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type ClusterId, type MemberId, parseClusterId, parseMemberId } from "../base/ids.ts";
import { writeDurably } from "./durable-file.ts";
import { StoreError } from "./store-error.ts";

export interface Marker {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  readonly origin: "form" | "join" | "recover";
  /** A recovery has begun that gives the database this cluster id; it has happened if the database has it. */
  readonly recoveringTo?: ClusterId;
}

export interface StorePaths {
  readonly database: string;
  readonly marker: string;
}

/** Where a data directory keeps its database and the marker. */
export function storePaths(dataDirectory: string): StorePaths {
  return { database: join(dataDirectory, "guacamole.db"), marker: join(dataDirectory, "member.json") };
}

/** The marker that belongs to a database. */
export function markerPathOf(databasePath: string): string {
  return join(dirname(databasePath), "member.json");
}

/**
 * Null where there is none.
 *
 * @throws {StoreError} if it cannot be read or is not a marker.
 */
export function readMarker(path: string): Marker | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return null;
    throw new StoreError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const marker = parseMarker(text);
  if (marker === null) {
    throw new StoreError(
      `${path} is damaged: restore it, or remove the data directory and join as a new member`,
    );
  }
  return marker;
}

/** Writes the marker so that it survives a crash. */
export function writeMarker(path: string, marker: Marker): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeDurably(path, (write) => write(`${JSON.stringify(marker, null, 2)}\n`));
}

function parseMarker(text: string): Marker | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { clusterId, memberId, origin, recoveringTo } = value as Record<string, unknown>;
  if (typeof clusterId !== "string" || typeof memberId !== "string") return null;
  if (origin !== "form" && origin !== "join" && origin !== "recover") return null;
  const cluster = parseClusterId(clusterId);
  const member = parseMemberId(memberId);
  if (!cluster.ok || !member.ok) return null;
  const marker: Marker = { clusterId: cluster.value, memberId: member.value, origin };
  if (recoveringTo === undefined) return marker;
  const next = typeof recoveringTo === "string" ? parseClusterId(recoveringTo) : null;
  return next?.ok ? { ...marker, recoveringTo: next.value } : null;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
