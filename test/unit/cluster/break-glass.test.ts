import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import { ENDED_GRANTS_KEPT, GRANTS_MAX } from "../../../src/cluster/break-glass.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import type { ApiToken, ClusterState } from "../../../src/cluster/state.ts";
import { clusterState } from "../../support/situation.ts";

const HOUR = 3_600_000;
const VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$stored:server";
const token = (id: string, over: Partial<ApiToken> = {}): ApiToken => ({
  id,
  secretHash: "x",
  scope: "admin",
  createdAtMs: 0,
  ...over,
});
const TOKENS = [
  token("ann"),
  token("bob"),
  token("made-by-ann", { by: "ann" }),
  token("new", { createdAtMs: 2_000 }),
];
const LEVEL_4 = clusterState({ featureLevel: 4, tokens: TOKENS });
const policy = (approvals: number, durationMsMax = 24 * HOUR): ClusterState => ({
  ...LEVEL_4,
  spec: { ...LEVEL_4.spec, breakGlass: { approvals, durationMsDefault: HOUR, durationMsMax } },
});
const request = (grantId = "g1", durationMs = HOUR) =>
  ({
    kind: "request-break-glass",
    grantId,
    role: `guacamole_bg_${grantId}`,
    verifier: VERIFIER,
    reason: "INC-1",
    address: "10.0.0.7/32",
    durationMs,
  }) as const;
const end = (grantId = "g1") => ({ kind: "end-break-glass", grantId, why: "revoked" }) as const;

let commands = 0;

function run(state: ClusterState, change: Change, by = "ann", atMs = 1_000) {
  commands += 1;
  const asked = { address: "10.0.0.7", request: "POST /v1/access/break-glass" };
  const command: Command = { id: `c${commands}`, atMs, by, change, asked };
  return apply(state, command);
}

function accepted(state: ClusterState, change: Change, by?: string, atMs?: number): ClusterState {
  const applied = run(state, change, by, atMs);
  if (!applied.outcome.ok || applied.state === null) throw new Error(JSON.stringify(applied.outcome));
  return applied.state;
}

function refusal(state: ClusterState, change: Change, by?: string): string {
  const applied = run(state, change, by);
  expect(applied.state).toBe(state);
  return applied.outcome.ok ? "accepted" : applied.outcome.code;
}

const grantOf = (state: ClusterState, id = "g1") => state.breakGlass?.find((grant) => grant.id === id);

describe("break-glass access", () => {
  test("opens at once where nobody has to approve, and ends with what it was given", () => {
    const state = accepted(LEVEL_4, request());
    expect(grantOf(state)).toMatchObject({ by: "ann", openedAtMs: 1_000, verifier: VERIFIER, ended: null });
    const after = accepted(state, end(), "bob", 5_000);
    expect(grantOf(after)).toMatchObject({
      verifier: null,
      ended: { by: "bob", atMs: 5_000, why: "revoked" },
    });
    expect(refusal(after, end())).toBe("break-glass-ended");
  });

  test("waits for somebody else where the policy asks for one", () => {
    const state = accepted(policy(1), request());
    expect(grantOf(state)?.openedAtMs).toBeNull();
    const approve = { kind: "approve-break-glass", grantId: "g1" } as const;
    const extend = { kind: "extend-break-glass", grantId: "g1", durationMs: HOUR } as const;
    expect(refusal(state, extend, "bob")).toBe("break-glass-not-approved");
    for (const same of ["ann", "made-by-ann", "new"])
      expect(refusal(state, approve, same)).toBe("break-glass-same-asker");
    const open = accepted(state, approve, "bob", 9_000);
    expect(grantOf(open)).toMatchObject({ openedAtMs: 9_000, approvals: [{ by: "bob", atMs: 9_000 }] });
    expect(refusal(open, approve, "local")).toBe("break-glass-open");
    expect(refusal(open, extend, "ann")).toBe("break-glass-same-asker");
    expect(grantOf(accepted(open, extend, "bob"))?.durationMs).toBe(2 * HOUR);
  });

  test("is approved by nobody whose issuer may have been made up for it", () => {
    const dba = "https://id.example.org#dba";
    const approve = { kind: "approve-break-glass", grantId: "g1" } as const;
    const state = accepted(policy(1), request());
    const trusting = (before: ClusterState, providers: readonly object[], atMs: number) => {
      const spec = { ...before.spec, identity: { providers } } as ClusterState["spec"];
      return accepted(before, { kind: "change-spec", generation: before.generation, spec }, "ann", atMs);
    };
    const faster = (before: ClusterState, atMs: number) => {
      const spec = { ...before.spec, timing: { ...before.spec.timing, suspectMs: atMs } };
      return accepted(before, { kind: "change-spec", generation: before.generation, spec }, "ann", atMs);
    };
    expect(grantOf(accepted(state, approve, dba))?.openedAtMs).not.toBeNull();
    expect(refusal(accepted(state, request("g2"), dba), { ...approve, grantId: "g2" }, dba)).toBe(
      "break-glass-same-asker",
    );
    expect(refusal(trusting(state, [], 1_001), approve, dba)).toBe("break-glass-same-asker");
    expect(grantOf(accepted(faster(state, 5_000), approve, dba))?.openedAtMs).not.toBeNull();
    const earlier = accepted(trusting(policy(1), [], 999), request());
    expect(grantOf(accepted(earlier, approve, dba))?.openedAtMs).not.toBeNull();
    // Pushed out of what is remembered, it is taken for so.
    let pushed = trusting(state, [], 1_001);
    for (let atMs = 5_000; atMs < 5_250; atMs += 1) pushed = faster(pushed, atMs);
    expect(
      pushed.specHistory?.some(({ changes }) => changes.some(({ path }) => path[0] === "identity")),
    ).toBe(false);
    expect(refusal(pushed, approve, dba)).toBe("break-glass-same-asker");
  });

  test("takes each approver once", () => {
    const state = accepted(policy(2), request());
    const approve = { kind: "approve-break-glass", grantId: "g1" } as const;
    const once = accepted(state, approve, "bob");
    expect(refusal(once, approve, "bob")).toBe("break-glass-same-asker");
    expect(grantOf(once)?.openedAtMs).toBeNull();
    expect(grantOf(accepted(once, approve, "local"))?.openedAtMs).not.toBeNull();
  });

  test("lasts no longer than the policy allows, extensions included", () => {
    const state = policy(0, 2 * HOUR);
    expect(refusal(state, request("g1", 2 * HOUR + 1))).toBe("break-glass-too-long");
    const open = accepted(state, request());
    const extend = (durationMs: number) =>
      ({ kind: "extend-break-glass", grantId: "g1", durationMs }) as const;
    const longer = accepted(open, extend(HOUR));
    expect(grantOf(longer)?.durationMs).toBe(2 * HOUR);
    expect(refusal(longer, extend(1))).toBe("break-glass-too-long");
    expect(refusal(accepted(longer, end()), extend(1))).toBe("break-glass-ended");
  });

  test("is bounded in number, in what stands and in what is remembered", () => {
    let state: ClusterState = LEVEL_4;
    for (let n = 0; n < GRANTS_MAX; n += 1) state = accepted(state, request(`g${n}`));
    expect(refusal(state, request("more"))).toBe("too-many-break-glass");
    for (let n = 0; n < ENDED_GRANTS_KEPT + 5; n += 1) {
      state = accepted(state, end(`g${n}`), "ann", 10_000 + n);
      state = accepted(state, request(`g${n + GRANTS_MAX}`), "ann", 10_000 + n);
    }
    const ended = (state.breakGlass ?? []).filter((grant) => grant.ended !== null);
    expect(ended.map(({ id }) => id)).toEqual(
      Array.from({ length: ENDED_GRANTS_KEPT }, (_, n) => `g${n + 5}`),
    );
  });

  test("is told in the audit trail without its verifier", () => {
    const { events } = run(LEVEL_4, request());
    const text = JSON.stringify(events);
    expect(events.map(({ name }) => name)).toEqual([
      "break-glass.requested",
      "break-glass.opened",
      "audit.request-break-glass",
    ]);
    expect(text).toContain("INC-1");
    expect(text).not.toContain("SCRAM");
    const { events: later } = run(accepted(LEVEL_4, request()), end());
    expect(JSON.stringify(later)).not.toContain("SCRAM");
  });

  test("is nothing before every member knows it, before there is a PostgreSQL, and where there is none of this id", () => {
    expect(refusal(clusterState({ featureLevel: 3 }), request())).toBe("feature-level-low");
    expect(refusal(clusterState({ featureLevel: 4, reign: null }), request())).toBe("not-initialized");
    expect(refusal(LEVEL_4, end("g9"))).toBe("break-glass-unknown");
    const spec = policy(1).spec;
    const level3 = clusterState({ featureLevel: 3 });
    expect(refusal(level3, { kind: "change-spec", generation: level3.generation, spec })).toBe(
      "feature-level-low",
    );
  });
});
