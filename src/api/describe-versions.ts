/** Versions of what operators want, as documents. */
import { type Hides, masked, placeAt, SPEC_PLACE } from "../cluster/secrets.ts";
import { blame, leavesOf, type SpecChange, type SpecVersion } from "../cluster/spec-history.ts";
import type { ClusterState } from "../cluster/state.ts";
import { toInstant } from "./describe.ts";
import type { SpecBlameDocument, SpecChangeDocument, SpecVersionDocument } from "./spec-documents.ts";

const BLAMED_MAX = 2_000;

/** One version, its secrets masked. */
export function describeVersion(
  state: ClusterState,
  version: SpecVersion,
  hides: Hides,
): SpecVersionDocument {
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
    changes: describeChanges(state, changes, hides),
  };
}

/** What was changed, without what guacamole itself keeps beside it, its secrets masked. */
export function describeChanges(
  state: ClusterState,
  changes: readonly SpecChange[],
  hides: Hides,
): SpecChangeDocument[] {
  return changes
    .flatMap((change) => describeChange(change, hides))
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
function describeChange({ path, at, before, after }: SpecChange, hides: Hides): readonly Told[] {
  const described = (of: readonly string[], from: number | null, was: unknown, is: unknown): Told => {
    const place = placeAt(SPEC_PLACE, of, hides);
    return { path: of, at: from, before: masked(was, place, hides), after: masked(is, place, hides) };
  };
  if (before === undefined)
    return leavesOf(after, path).map((leaf) => described(leaf.path, null, undefined, leaf.value));
  if (after === undefined)
    return leavesOf(before, path).map((leaf) => described(leaf.path, null, leaf.value, undefined));
  return [described(path, at ?? null, before, after)];
}

/** Who said each value that begins so. */
export function describeBlame(state: ClusterState, prefix: string, hides: Hides): SpecBlameDocument {
  const all = blame(state)
    .filter(({ path }) => !isBookkeeping(path))
    .map((each) => ({
      ...each,
      place: placeAt(SPEC_PLACE, each.path, hides),
      path: pathText(named(state, each.path)),
    }))
    .filter(({ path }) => path.startsWith(prefix));
  const values = all.slice(0, BLAMED_MAX).map(({ path, place, value, version }) => ({
    path,
    value: masked(value, place, hides),
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
