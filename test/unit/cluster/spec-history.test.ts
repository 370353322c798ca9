import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { hashJson } from "../../../src/base/json-hash.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change } from "../../../src/cluster/command.ts";
import type { ClusterSpec } from "../../../src/cluster/spec.ts";
import { blame, changesBetween, specAt, undone, versionsOf } from "../../../src/cluster/spec-history.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState } from "../../support/situation.ts";

const BEGIN = clusterState({ featureLevel: 4 });

function changed(state: ClusterState, spec: ClusterSpec, reason?: string): ClusterState {
  const change: Change = { kind: "change-spec", generation: state.generation, spec };
  const asked = { address: null, request: "PATCH /v1/topology", ...(reason === undefined ? {} : { reason }) };
  const applied = apply(state, { id: `c${state.generation}`, atMs: 1_000, by: "ann", change, asked });
  if (applied.state === null || !applied.outcome.ok) throw new Error("it was refused");
  return applied.state;
}

const voters = (spec: ClusterSpec, votersMax: number): ClusterSpec => ({ ...spec, consensus: { votersMax } });
const parameters = (spec: ClusterSpec, cluster: Record<string, string>): ClusterSpec => ({
  ...spec,
  postgres: { parameters: { cluster } },
});

describe("the chain of versions", () => {
  const second = changed(BEGIN, voters(BEGIN.spec, 3), "fewer");
  const third = changed(second, parameters(second.spec, { work_mem: "8MB", wal_level: "logical" }));
  const fourth = changed(third, parameters(voters(third.spec, 5), { work_mem: "16MB" }), "INC-1");

  test("says of each version who wanted what and why, and leads back to each", () => {
    const history = fourth.specHistory ?? [];
    expect(history.map(({ generation, by, reason }) => [generation, by, reason] as const)).toEqual([
      [2, "ann", "fewer"],
      [3, "ann", null],
      [4, "ann", "INC-1"],
    ] as never);
    expect(history.at(-1)?.changes.map(({ path }) => path.join("."))).toEqual([
      "consensus.votersMax",
      "postgres.parameters.cluster.wal_level",
      "postgres.parameters.cluster.work_mem",
    ]);
    expect(versionsOf(fourth)).toEqual({ ok: true, value: history });
    for (const state of [second, third, fourth])
      expect(specAt(fourth, state.generation)).toEqual({ ok: true, value: state.spec });
    expect(specAt(fourth, 1)).toEqual({ ok: false, error: "unknown-generation" });
    expect(specAt(fourth, 5)).toEqual({ ok: false, error: "unknown-generation" });
  });

  test("blames for each value the version that said so last", () => {
    const found = (path: string) => blame(fourth).find((each) => each.path.join(".") === path)?.version;
    expect(found("postgres.parameters.cluster.work_mem")?.generation).toBe(4 as never);
    expect(found("consensus.votersMax")?.reason).toBe("INC-1");
    expect(found("durability.mode")).toBeNull();
  });

  test.each([
    ["the spec itself", { ...fourth, spec: voters(fourth.spec, 7) }],
    ["who changed it", tampered({ by: "eve" })],
    ["the reason", tampered({ reason: "because" })],
    [
      "what was there before",
      tampered({ changes: [{ path: ["consensus", "votersMax"], before: 9, after: 3 }] }, 2),
    ],
    ["the chain", { ...fourth, specHistory: fourth.specHistory?.toSpliced(1, 1) }],
  ] as const)("shows that somebody tampered with %s", (_what, state) => {
    expect(specAt(state as ClusterState, 2)).toEqual({ ok: false, error: "chain-broken" });
    expect(versionsOf(state as ClusterState)).toEqual({ ok: false, error: "chain-broken" });
  });

  function tampered(extra: object, at = 1): ClusterState {
    const specHistory = (fourth.specHistory ?? []).map((each, index) =>
      index === at ? { ...each, ...extra } : each,
    );
    return { ...fourth, specHistory };
  }

  test("is looked at for the present spec as well", () => {
    const altered = { ...fourth, spec: voters(fourth.spec, 7) };
    expect(specAt(altered, fourth.generation)).toEqual({ ok: false, error: "chain-broken" });
  });

  test("is bounded, and is still whole where its beginning was forgotten", () => {
    let state = BEGIN;
    for (let count = 0; count < 250; count += 1)
      state = changed(state, parameters(state.spec, { work_mem: `${count}MB` }));
    const history = state.specHistory ?? [];
    expect(history).toHaveLength(200);
    expect(specAt(state, history[0]?.generation ?? 0).ok).toBe(true);
    const large = changed(state, parameters(state.spec, { "app.blob": "x".repeat(100_000) }));
    // More than is kept: there is no way back from here.
    expect(large.specHistory).toHaveLength(1);
    expect(specAt(large, state.generation)).toEqual({ ok: false, error: "unknown-generation" });
    expect(specAt(large, large.generation).ok).toBe(true);
  });

  test("notes nothing that is as it was, and nothing before feature level 4", () => {
    expect(changed(fourth, structuredClone(fourth.spec)).specHistory).toEqual(fourth.specHistory);
    expect(changed(clusterState({ featureLevel: 3 }), voters(BEGIN.spec, 3)).specHistory).toBeUndefined();
  });
});

const json = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<unknown>;

describe("changes between two values", () => {
  test("undone, they give the first, whatever the two are", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), json), fc.dictionary(fc.string(), json), (before, after) => {
        const back = undone(after, changesBetween(before, after));
        expect(hashJson(back)).toBe(hashJson(before));
      }),
    );
  });

  test("are none where only the order of keys differs", () => {
    const [a, b] = [
      { x: [1, { p: 1, q: 2 }], y: null },
      { y: null, x: [1, { q: 2, p: 1 }] },
    ];
    expect(changesBetween(a, b)).toEqual([]);
    expect(hashJson(a)).toBe(hashJson(b));
    expect(hashJson({ x: 1 })).not.toBe(hashJson({ x: "1" }));
  });

  test("of a list are what lies between the beginning and the end that both have", () => {
    const [before, after] = [
      ["a", "b", "c", "d"],
      ["a", "x", "d"],
    ];
    expect(changesBetween({ list: before }, { list: after })).toEqual([
      { path: ["list"], at: 1, before: ["b", "c"], after: ["x"] },
    ]);
  });
});
