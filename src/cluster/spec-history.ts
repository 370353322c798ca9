/**
 * The versions of what operators want, as a chain: each says what it changed, who wanted that and why, and carries a checksum of itself
 * and its parent's. Older ones are rebuilt by walking back from the present one, and each is checked on the way
 * (`roadmap/0010-spec-history.md`).
 */

import type { Generation } from "../base/ids.ts";
import { hashJson } from "../base/json-hash.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Applied } from "./applied.ts";
import type { Command } from "./command.ts";
import type { ClusterSpec } from "./spec.ts";
import { type ClusterState, featureLevelOf } from "./state.ts";

/** One version of the spec. */
export interface SpecVersion {
  readonly generation: Generation;
  /** Of all that follows. */
  readonly checksum: string;
  /** The checksum of the version before. Null: none was kept. */
  readonly parent: string | null;
  /** Of the spec itself (`hashJson`). */
  readonly specHash: string;
  readonly by: string;
  /** Name of the token at that time, or as an identity provider said it; null: there was none. */
  readonly byName: string | null;
  readonly reason: string | null;
  /** Method and path; null: nobody asked the API. */
  readonly request: string | null;
  readonly atMs: number;
  /** From the version before to this one. */
  readonly changes: readonly SpecChange[];
  /** There is no way back from here: the first version, or one that changed more than is kept. Absent: there is. */
  readonly isFirst?: true;
}

/** What one version says otherwise than the one before, at a path of keys. */
export interface SpecChange {
  readonly path: readonly string[];
  /** Absent: it was not there. */
  readonly before?: unknown;
  /** Absent: it is not there any more. */
  readonly after?: unknown;
  /** In a list, from this index on: `before` are those taken out, `after` those put in. Absent: it is no list, or all of it. */
  readonly at?: number;
}

const VERSIONS_MAX = 200;
/** Of all changes together, as JSON: they are part of the state, which is written at every change of anything. */
const BYTES_MAX = 65_536;
const FEATURE_LEVEL_NEEDED = 4;

/** Adds a version wherever the spec is another one afterwards, whatever made it so. */
export function versioned(before: ClusterState | null, command: Command, applied: Applied): Applied {
  const { state } = applied;
  if (state === null || state.spec === before?.spec || featureLevelOf(state) < FEATURE_LEVEL_NEEDED)
    return applied;
  const history = before?.specHistory ?? [];
  const changes = before === null ? [] : changesBetween(before.spec, state.spec);
  if (before !== null && changes.length === 0) return applied;
  const isKept = before !== null && sizeOf(changes) <= BYTES_MAX;
  const { asked, by, atMs } = command;
  const said = {
    generation: state.generation,
    parent: history.at(-1)?.checksum ?? null,
    specHash: hashJson(state.spec),
    by,
    byName: before?.tokens.find(({ id }) => id === by)?.name ?? asked?.callerName ?? null,
    reason: asked?.reason ?? null,
    request: asked?.request ?? null,
    atMs,
    ...(isKept ? { changes } : { changes: [], isFirst: true as const }),
  };
  const version: SpecVersion = { ...said, checksum: hashJson(said) };
  return { ...applied, state: { ...state, specHistory: bounded([...history, version]) } };
}

/** The newest that fit; of one that there is no way back from, all before are of no use. */
function bounded(versions: readonly SpecVersion[]): readonly SpecVersion[] {
  const kept: SpecVersion[] = [];
  let bytes = 0;
  for (const version of versions.toReversed()) {
    bytes += sizeOf(version.changes);
    if (kept.length > 0 && (kept.length >= VERSIONS_MAX || bytes > BYTES_MAX)) break;
    kept.unshift(version);
    if (version.isFirst === true) break;
  }
  return kept;
}

function sizeOf(changes: readonly SpecChange[]): number {
  return JSON.stringify(changes).length;
}

/** Why a version cannot be shown. */
export type NoVersion = "unknown-generation" | "chain-broken";

/** The spec as of a generation that is kept, or the present one. Not every generation changed it. */
export function specAt(state: ClusterState, generation: number): Result<ClusterSpec, NoVersion> {
  const { specHistory = [] } = state;
  if (generation > state.generation) return err("unknown-generation");
  if (specHistory.length === 0)
    return generation === state.generation ? ok(state.spec) : err("unknown-generation");
  let spec: ClusterSpec = state.spec;
  let child: SpecVersion | null = null;
  for (const version of specHistory.toReversed()) {
    if (
      version.specHash !== hashJson(spec) ||
      !isWhole(version) ||
      (child !== null && child.parent !== version.checksum)
    )
      return err("chain-broken");
    if (version.generation <= generation) return ok(spec);
    if (version.isFirst === true) break;
    spec = undone(spec, version.changes) as ClusterSpec;
    child = version;
  }
  return err("unknown-generation");
}

function isWhole({ checksum, ...said }: SpecVersion): boolean {
  return checksum === hashJson(said);
}

/** All versions that are kept, oldest first, once it is certain that nobody altered them, or the present spec. */
export function versionsOf(state: ClusterState): Result<readonly SpecVersion[], "chain-broken"> {
  const { specHistory = [], spec } = state;
  const newest = specHistory.at(-1);
  const isChained = specHistory.every(
    (version, index) =>
      isWhole(version) && (index === 0 || version.parent === specHistory[index - 1]?.checksum),
  );
  return isChained && (newest === undefined || newest.specHash === hashJson(spec))
    ? ok(specHistory)
    : err("chain-broken");
}

/** Who said a value last, and when. */
export interface Blame {
  readonly path: readonly string[];
  readonly value: unknown;
  /** Null: it was so before the oldest version that is kept. */
  readonly version: SpecVersion | null;
}

/** For each value of the present spec, who said it. A list is one value. */
export function blame({ spec, specHistory = [] }: ClusterState): readonly Blame[] {
  const newestFirst = specHistory.toReversed();
  return leavesOf(spec).map(({ path, value }) => ({
    path,
    value,
    version: newestFirst.find(({ changes }) => changes.some((change) => touches(change.path, path))) ?? null,
  }));
}

function touches(changed: readonly string[], path: readonly string[]): boolean {
  return changed.every((key, index) => path[index] === key);
}

/** Every value with its path. A list is one value. */
export function leavesOf(value: unknown, path: readonly string[] = []): readonly Omit<Blame, "version">[] {
  if (!isRecord(value)) return value === undefined ? [] : [{ path, value }];
  const keys = Object.keys(value).sort();
  if (keys.length === 0) return [{ path, value }];
  return keys.flatMap((key) => leavesOf(value[key], [...path, key]));
}

/** What has to change for `before` to become `after`. Both are JSON; parts that are the same object are not looked at. */
export function changesBetween(
  before: unknown,
  after: unknown,
  path: readonly string[] = [],
): readonly SpecChange[] {
  if (before === after) return [];
  if (isRecord(before) && isRecord(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return keys.flatMap((key) => changesBetween(own(before, key), own(after, key), [...path, key]));
  }
  if (Array.isArray(before) && Array.isArray(after)) return listChange(before, after, path);
  return [
    {
      path,
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
    },
  ];
}

/** What lies between the beginning and the end that both have. */
function listChange(
  before: readonly unknown[],
  after: readonly unknown[],
  path: readonly string[],
): readonly SpecChange[] {
  const [a, b] = [before.map(hashJson), after.map(hashJson)];
  const shorter = Math.min(a.length, b.length);
  let at = 0;
  while (at < shorter && a[at] === b[at]) at += 1;
  let tail = 0;
  while (tail < shorter - at && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  if (at + tail === a.length && at + tail === b.length) return [];
  return [
    { path, at, before: before.slice(at, before.length - tail), after: after.slice(at, after.length - tail) },
  ];
}

/** What there was before these changes. */
export function undone(value: unknown, changes: readonly SpecChange[]): unknown {
  return changes.toReversed().reduce<unknown>((now, change) => withPart(now, change.path, change), value);
}

function withPart(value: unknown, [key, ...rest]: readonly string[], change: SpecChange): unknown {
  if (key === undefined) return partBefore(value, change);
  const record = isRecord(value) ? value : {};
  const part = withPart(own(record, key), rest, change);
  const others = Object.entries(record).filter(([name]) => name !== key);
  return Object.fromEntries(part === undefined ? others : [...others, [key, part]]);
}

function partBefore(value: unknown, { at, before, after }: SpecChange): unknown {
  if (at === undefined) return before;
  const [list, taken, put] = [value, before, after].map((each) => (Array.isArray(each) ? each : []));
  return list?.toSpliced(at, put?.length ?? 0, ...(taken ?? []));
}

type Parts = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is Parts {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A role may be called `constructor`. */
function own(parts: Parts, key: string): unknown {
  return Object.hasOwn(parts, key) ? parts[key] : undefined;
}
