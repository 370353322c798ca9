import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import type { AuditedChange, Change, Command } from "../../../src/cluster/command.ts";
import { DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState, id, member } from "../../support/situation.ts";

const TOKEN = { id: "t1", name: "ann", secretHash: "ab", scope: "admin", createdAtMs: 0 } as const;
const STATE = clusterState({ featureLevel: 4, tokens: [TOKEN] });
const ASKED = { address: "10.0.0.9", request: "POST /v1/x" } as const;

function command(change: Change, over: Partial<Command> = {}): Command {
  return { id: "c", atMs: 1_000, by: "t1", change, asked: ASKED, ...over };
}

function entriesOf(state: ClusterState | null, wanted: Command): readonly AuditedChange[] {
  return apply(state, wanted).events.flatMap(({ audit }) => (audit === undefined ? [] : [audit]));
}

function entryOf(change: Change, state = STATE): AuditedChange {
  const [entry, ...more] = entriesOf(state, command(change));
  if (entry === undefined || more.length > 0) throw new Error("one entry is wanted");
  return entry;
}

describe("the audit trail", () => {
  test("tells who changed what from where, with what was agreed before and after", () => {
    const spec = {
      ...DEFAULT_SPEC,
      durability: { mode: "quorum", synchronousStandbys: 2, onQuorumLoss: "block" } as const,
    };
    const { generation } = STATE;
    expect(entryOf({ kind: "change-spec", generation, spec })).toEqual({
      kind: "change-spec",
      byName: "ann",
      ...ASKED,
      values: [
        { path: "generation", before: String(generation), after: String(generation + 1) },
        { path: "spec.durability.synchronousStandbys", before: "1", after: "2" },
      ],
      untold: 0,
    });
  });

  test("names members and tokens, and what came or went", () => {
    const { values } = entryOf({ kind: "set-member-tags", memberId: id("m2"), tags: { zone: "a" } });
    expect(values).toEqual([{ path: "members.m2.tags.zone", before: null, after: '"a"' }]);
    expect(entryOf({ kind: "revoke-token", tokenId: "t1" }).values).toEqual([
      {
        path: "tokens.ann",
        before: '{"id":"t1","name":"ann","secretHash":"***","scope":"admin","createdAtMs":0}',
        after: null,
      },
    ]);
  });

  test("never holds a secret or the hash of one", () => {
    const made = entryOf({ kind: "create-token", tokenId: "t2", secretHash: "cafe01", scope: "viewer" });
    const join = entryOf({ kind: "create-join-token", tokenId: "j", secretHash: "cafe02", expiresAtMs: 9 });
    expect(made.values[0]?.path).toBe("tokens.t2");
    expect(JSON.stringify([made, join])).not.toContain("cafe0");
    const spec = {
      ...DEFAULT_SPEC,
      extra: {
        password: "cafe03",
        conninfo: "host=a password=cafe04 user=b",
        quoted: "password = 'cafe05 cafe06' x",
        url: "postgres://u:cafe07@h/db",
        roles: [{ name: "app", verifier: "cafe08" }],
        password_encryption: "scram-sha-256",
      },
    };
    const { generation } = STATE;
    const { values } = entryOf({ kind: "change-spec", generation, spec });
    expect(JSON.stringify(values)).not.toContain("cafe0");
    expect(JSON.stringify(values)).toContain("scram-sha-256");
    expect(JSON.stringify(values)).toContain("host=a password=*** user=b");
  });

  test("tells of a list whose order counts what is new in it, and what went", () => {
    const rules = ["a", "b", "c", "d"].map((user) => ({ user, method: "scram-sha-256" }));
    const [a, b, c, d] = rules;
    const changed = (rules: readonly unknown[] | undefined, to: readonly unknown[]) => {
      const before = { ...STATE, spec: { ...DEFAULT_SPEC, ...(rules === undefined ? {} : { rules }) } };
      const spec = { ...DEFAULT_SPEC, rules: to };
      const { values } = entryOf({ kind: "change-spec", generation: STATE.generation, spec }, before);
      return values
        .slice(1)
        .map(({ path, before: was, after: is }) => `${path} ${was?.[9] ?? "-"} ${is?.[9] ?? "-"}`);
    };
    expect(changed([a, b, d], [a, b, c, d])).toEqual(["spec.rules[2] - c"]);
    expect(changed([a, b, c, d], [a, d])).toEqual(["spec.rules[1] b -", "spec.rules[2] c -"]);
    expect(changed([a, b, d], [a, c, d])).toEqual(["spec.rules[1] b c"]);
    expect(changed(undefined, [a])).toEqual(["spec.rules[0] - a"]);
    expect(changed([a, a], [a, a, a])).toEqual(["spec.rules[2] - a"]);
    expect(changed([a], [])).toEqual(["spec.rules[0] a -"]);
    const named = [{ id: "rule-one" }, { id: "rule-two" }];
    expect(changed(named, named.toReversed())).toEqual(["spec.rules e o"]);
  });

  test("is bounded, whatever changes", () => {
    const extra = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`k${at}`, "x".repeat(1_000)]));
    const before = { ...STATE, spec: { ...DEFAULT_SPEC, extra: {} } };
    const spec = { ...DEFAULT_SPEC, extra };
    const entry = entryOf({ kind: "change-spec", generation: STATE.generation, spec }, before);
    expect(entry.values).toHaveLength(20);
    expect(entry.untold).toBe(31);
    expect(JSON.stringify(entry).length).toBeLessThan(20_000);
  });

  test("takes a member's name for a name, whatever it is", () => {
    for (const name of ["constructor", "valueof", "__proto__"]) {
      const state = { ...STATE, members: [...STATE.members, member(name, { data: "none" })] };
      const change = { kind: "mark-data-ready", memberId: member(name).id } as const;
      expect(entryOf(change, state).values).toEqual([
        { path: `members.${name}.data`, before: '"none"', after: '"ready"' },
      ]);
      const added: ClusterState = {
        ...STATE,
        joinTokens: [{ id: "j", secretHash: "h", expiresAtMs: 9_000, usedBy: null }],
      };
      const { values } = entryOf({ kind: "add-member", member: member(name), joinTokenId: "j" }, added);
      expect(values.map(({ path }) => path)).toEqual(["joinTokens.j.usedBy", `members.${name}`]);
    }
  });

  test("tells nothing of what was refused, of what nobody asked for, and before feature level 4", () => {
    const pause = { kind: "pause", reason: "x" } as const;
    const paused = { ...STATE, pauses: [{ reason: "x", by: "t1", atMs: 0 }] };
    expect(entriesOf(STATE, command(pause))).toHaveLength(1);
    expect(entriesOf(paused, command(pause))).toEqual([]);
    const { asked: _asked, ...byItself } = command(pause);
    expect(entriesOf(STATE, byItself)).toEqual([]);
    expect(entriesOf({ ...STATE, featureLevel: 3 }, command(pause))).toEqual([]);
  });

  test("begins with the forming of the cluster", () => {
    const form: Change = {
      kind: "form",
      clusterId: STATE.clusterId,
      name: "test",
      spec: DEFAULT_SPEC,
      authority: { certificatePem: "", privateKeyPem: "k" },
      member: member("m1", { data: "none" }),
      token: TOKEN,
      featureLevel: 4,
    };
    const [entry] = entriesOf(null, command(form, { by: "local", asked: { ...ASKED, address: null } }));
    expect(entry).toMatchObject({ kind: "form", byName: null, address: null, values: [] });
  });
});
