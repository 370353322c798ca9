/** Versions of what operators want, as documents. */
import { withoutSecrets } from "../cluster/secrets.ts";
import { blame, leavesOf, type SpecChange, type SpecVersion } from "../cluster/spec-history.ts";
import type { ClusterState } from "../cluster/state.ts";
import { toInstant } from "./describe.ts";
import type { SpecBlameDocument, SpecChangeDocument, SpecVersionDocument } from "./spec-documents.ts";

const BLAMED_MAX = 2_000;

/** One version, its secrets masked. */
export function describeVersion(state: ClusterState, version: SpecVersion): SpecVersionDocument {
  const { generation, checksum, parent, by, byName, reason, request, atMs, changes } = version;
  const at = toInstant(atMs);
  return {
    generation,
    checksum,
    parent,
    at,
    by,
    byName,
    reason,
    request,
    changes: [...describeChanges(state, changes)],
  };
}

/** What was changed, without what guacamole itself keeps beside it, its secrets masked. */
export function describeChanges(state: ClusterState, changes: readonly SpecChange[]): SpecChangeDocument[] {
  return changes
    .flatMap(describeChange)
    .filter(({ path }) => !isBookkeeping(path))
    .map(({ path, ...rest }) => ({ ...rest, path: pathText(named(state, path)) }));
}

/** Which generation said so, and with which scope. */
function isBookkeeping([section, part, , last]: readonly string[]): boolean {
  if (section !== "access" && section !== "declared") return false;
  return part === "revision" || last === "since" || last === "isTrusted";
}

/** Members by their names instead of their ids. */
function named({ members }: ClusterState, path: readonly string[]): readonly string[] {
  const isOfMember = path.slice(0, 3).join(".") === "postgres.parameters.members";
  if (!isOfMember) return path;
  return path.map((key, at) => (at === 3 ? (members.find(({ id }) => id === key)?.name ?? key) : key));
}

interface Told extends Omit<SpecChangeDocument, "path"> {
  readonly path: readonly string[];
}

/** Of what came or went as a whole, value by value. */
function describeChange({ path, at, before, after }: SpecChange): readonly Told[] {
  if (before === undefined)
    return leavesOf(after, path).map((leaf) => described(leaf.path, null, undefined, leaf.value));
  if (after === undefined)
    return leavesOf(before, path).map((leaf) => described(leaf.path, null, leaf.value, undefined));
  return [described(path, at ?? null, before, after)];
}

function described(path: readonly string[], at: number | null, before: unknown, after: unknown): Told {
  const name = path.at(-1) ?? "";
  return {
    path,
    at,
    before: withoutSecrets(before, name),
    after: withoutSecrets(after, name),
  };
}

/** Who said each value that begins so. */
export function describeBlame(state: ClusterState, prefix: string): SpecBlameDocument {
  const all = blame(state)
    .filter(({ path }) => !isBookkeeping(path))
    .map((each) => ({ ...each, name: each.path.at(-1), path: pathText(named(state, each.path)) }))
    .filter(({ path }) => path.startsWith(prefix));
  const values = all.slice(0, BLAMED_MAX).map(({ path, name, value, version }) => ({
    path,
    value: withoutSecrets(value, name),
    generation: version?.generation ?? null,
    at: version === null ? null : toInstant(version.atMs),
    by: version === null ? null : (version.byName ?? version.by),
    reason: version?.reason ?? null,
  }));
  return { generation: state.generation, values, untold: all.length - values.length };
}

function pathText(path: readonly string[]): string {
  return path.map((key) => (/^[^."]+$/.test(key) ? key : JSON.stringify(key))).join(".");
}
