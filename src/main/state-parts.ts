/** What is agreed, from one thread to the other: only the parts that are others than before, since thousands of roles may be in one. */
import type { ClusterState } from "../cluster/state.ts";

export interface StateParts {
  readonly changed: Partial<ClusterState>;
  readonly gone: readonly string[];
}

/** What has to be told so that whoever has `before` has `after`. Null: nobody was told anything. */
export function partsToTell(before: ClusterState | null, after: ClusterState): StateParts {
  const known = new Map<string, unknown>(Object.entries(before ?? {}));
  const changed = Object.entries(after).filter(
    ([name, value]) => !known.has(name) || known.get(name) !== value,
  );
  const gone = [...known.keys()].filter((name) => !Object.hasOwn(after, name));
  return { changed: Object.fromEntries(changed), gone };
}

/** The other side of it. */
export function withParts(before: ClusterState | null, { changed, gone }: StateParts): ClusterState {
  const kept = Object.entries(before ?? {}).filter(([name]) => !gone.includes(name));
  return { ...Object.fromEntries(kept), ...changed } as ClusterState;
}
