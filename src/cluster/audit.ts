/**
 * The audit trail of what was changed, derived from the commands themselves: what is agreed before and after is compared, so
 * no kind of change can be forgotten, and whatever happens once is told once.
 *
 * It is part of what members compare hashes of: what is written here changes only together with the feature level.
 */
import type { Applied } from "./applied.ts";
import type { AuditedValue, Command } from "./command.ts";
import { MASK, masked, type Place, placeIn, placeInList, STATE_PLACE } from "./secrets.ts";
import { type ClusterState, featureLevelOf } from "./state.ts";

const VALUES_MAX = 20;
const TEXT_MAX = 300;
const MASKED = JSON.stringify(MASK);
/** Of a list of names. */
const NAMES: Place = { kind: "fields", fields: {} };
/** What follows from the change, and is told by the events and the operations. */
const CONSEQUENCES: ReadonlySet<string> = new Set([
  "operations",
  "specHistory",
  "failovers",
  "failoverCount",
  "switchoverCount",
]);
/** Adds the entry for a change that somebody asked the API for. What was refused changed nothing: it leaves none. */
export function audited(before: ClusterState | null, command: Command, applied: Applied): Applied {
  const { asked, by, atMs, change } = command;
  if (asked === undefined || !applied.outcome.ok || applied.state === null) return applied;
  if (featureLevelOf(applied.state) < 4) return applied;
  // Of forming, everything would be new: the event says it.
  const values = before === null ? [] : compare(before, applied.state);
  const byName = before?.tokens.find(({ id }) => id === by)?.name ?? asked.callerName ?? null;
  const entry = {
    name: `audit.${change.kind}`,
    atMs,
    message: `${asked.request} by ${byName ?? by}`,
    fields: { by },
    audit: {
      kind: change.kind,
      byName,
      address: asked.address,
      request: asked.request,
      ...(asked.reason === undefined ? {} : { reason: asked.reason }),
      ...(asked.member === undefined ? {} : { member: asked.member }),
      values: values.slice(0, VALUES_MAX),
      untold: Math.max(0, values.length - VALUES_MAX),
    },
  };
  return { ...applied, events: [...applied.events, entry] };
}

function compare(before: ClusterState, after: ClusterState): readonly AuditedValue[] {
  const [a, b] = [asRecord(before), asRecord(after)];
  return keysOf(a, b).flatMap((key) =>
    CONSEQUENCES.has(key)
      ? []
      : difference({ path: key, place: placeIn(STATE_PLACE, key) }, own(a, key), own(b, key)),
  );
}

/** Where a value stands, and what that says of secrets. */
interface At {
  readonly path: string;
  readonly place: Place;
}

function difference({ path, place }: At, before: unknown, after: unknown): readonly AuditedValue[] {
  if (before === after) return [];
  // Of two records the parts are compared: thousands of them need not be written out for one that changed.
  const isCompared = isRecord(before) && isRecord(after) && place.kind !== "secret";
  if (!isCompared && JSON.stringify(before) === JSON.stringify(after)) return [];
  if (place.kind === "secret") return [{ path, before: maskOf(before), after: maskOf(after) }];
  const lists = listsOf(before, after);
  const parts = lists === null ? partsOf(before, after) : namedParts(...lists);
  if (parts === null && lists !== null) return listDifference({ path, place: placeInList(place) }, ...lists);
  if (parts === null) return [{ path, before: textOf(before, place), after: textOf(after, place) }];
  const [a, b] = parts;
  const told = keysOf(a, b).flatMap((key) => {
    const within = lists === null ? placeIn(place, key) : placeInList(place);
    return difference({ path: `${path}.${key}`, place: within }, own(a, key), own(b, key));
  });
  if (told.length > 0 || lists === null) return told;
  // Only their order changed.
  return [{ path, before: textOf(Object.keys(a), NAMES), after: textOf(Object.keys(b), NAMES) }];
}

type Parts = Readonly<Record<string, unknown>>;

function partsOf(before: unknown, after: unknown): readonly [Parts, Parts] | null {
  return isRecord(before) && isRecord(after) ? [before, after] : null;
}

type List = readonly unknown[];

/** A list that is not there is an empty one. */
function listsOf(before: unknown, after: unknown): readonly [List, List] | null {
  if (!Array.isArray(before) && !Array.isArray(after)) return null;
  const [a, b] = [before ?? [], after ?? []];
  return Array.isArray(a) && Array.isArray(b) ? [a, b] : null;
}

/** Of lists whose order counts: what lies between the beginning and the end that both have. */
function listDifference({ path, place }: At, before: List, after: List): readonly AuditedValue[] {
  const [a, b] = [before, after].map((list) => list.map((each) => JSON.stringify(each)));
  if (a === undefined || b === undefined) return [];
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start += 1;
  let kept = 0;
  while (kept < Math.min(a.length, b.length) - start && a.at(-1 - kept) === b.at(-1 - kept)) kept += 1;
  const count = Math.max(a.length, b.length) - kept - start;
  return Array.from({ length: count }, (_, at) => ({
    path: `${path}[${start + at}]`,
    before: start + at < a.length - kept ? textOf(before[start + at], place) : null,
    after: start + at < b.length - kept ? textOf(after[start + at], place) : null,
  }));
}

/** Lists as parts, by the names or the ids of what is in them, where all have such. */
function namedParts(before: List, after: List): readonly [Parts, Parts] | null {
  for (const key of ["name", "id"]) {
    const named = [namedBy(key, before), namedBy(key, after)] as const;
    if (named[0] !== null && named[1] !== null) return [named[0], named[1]];
  }
  return null;
}

/** Null: not each has such a name, or two have the same. */
function namedBy(key: string, list: readonly unknown[]): Parts | null {
  const entries = list.flatMap((each) => {
    const name = isRecord(each) ? each[key] : undefined;
    return typeof name === "string" ? [[name, each] as const] : [];
  });
  const isWhole =
    entries.length === list.length && new Set(entries.map(([name]) => name)).size === list.length;
  return isWhole ? Object.fromEntries(entries) : null;
}

function maskOf(value: unknown): string | null {
  return value === undefined || value === null ? null : MASKED;
}

function textOf(value: unknown, place: Place): string | null {
  if (value === undefined) return null;
  const text = JSON.stringify(masked(value, place));
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX)}…`;
}

/** A member may be called `constructor`. */
function own(parts: Parts, key: string): unknown {
  return Object.hasOwn(parts, key) ? parts[key] : undefined;
}

function keysOf(a: Parts, b: Parts): readonly string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
}

function isRecord(value: unknown): value is Parts {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asRecord(state: ClusterState): Parts {
  return state as unknown as Parts;
}
