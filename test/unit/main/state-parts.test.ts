import { expect, test } from "bun:test";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { partsToTell, withParts } from "../../../src/main/state-parts.ts";
import { stateOf } from "../api/fixture.ts";

/** As from one thread to the other. */
function told(before: ClusterState | null, known: ClusterState | null, after: ClusterState): ClusterState {
  return withParts(known, structuredClone(partsToTell(before, after)));
}

test("whoever is told each change has what is agreed, and keeps what did not change", () => {
  const first = stateOf({ featureLevel: 4, pauses: [] });
  const { pauses: _, ...rest } = first;
  const second: ClusterState = { ...rest, failoverCount: 9, acceptedLoss: null };
  const knownFirst = told(null, null, first);
  expect(knownFirst).toEqual(first);
  const knownSecond = told(first, knownFirst, second);
  expect(knownSecond).toEqual(second);
  expect(Object.keys(knownSecond).sort()).toEqual(Object.keys(second).sort());
  expect(knownSecond.spec).toBe(knownFirst.spec);
  expect(partsToTell(first, second)).toEqual({
    changed: { failoverCount: 9, acceptedLoss: null },
    gone: ["pauses"],
  });
});
