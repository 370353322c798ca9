import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import { isExpired, TOKENS_MAX } from "../../../src/cluster/apply-tokens.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import { isUnderstoodByAll } from "../../../src/cluster/feature-level.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState } from "../../support/situation.ts";

const LEVEL_3 = clusterState({ featureLevel: 3, tokens: [] });
const LEVEL_4 = clusterState({ featureLevel: 4, tokens: [] });

function command(change: Change, atMs = 1_000): Command {
  return { id: "c", atMs, by: "ann", change };
}

function accepted(state: ClusterState, change: Change, atMs?: number): ClusterState {
  const applied = apply(state, command(change, atMs));
  if (!applied.outcome.ok) throw new Error(applied.outcome.code);
  if (applied.state === null) throw new Error("a formed cluster stays formed");
  return applied.state;
}

function refusal(state: ClusterState, change: Change, atMs?: number): string {
  const applied = apply(state, command(change, atMs));
  expect(applied.state).toBe(state);
  return applied.outcome.ok ? "accepted" : applied.outcome.code;
}

const make = (tokenId: string, over: Partial<Extract<Change, { kind: "create-token" }>> = {}): Change => ({
  kind: "create-token",
  tokenId,
  secretHash: "ab",
  scope: "viewer",
  ...over,
});

describe("a token", () => {
  test("has a name, an end, and who made it", () => {
    const { tokens } = accepted(
      LEVEL_4,
      make("t1", { name: "grafana", scope: "health", expiresAtMs: 9_000 }),
    );
    expect(tokens).toEqual([
      {
        id: "t1",
        secretHash: "ab",
        scope: "health",
        createdAtMs: 1_000,
        name: "grafana",
        expiresAtMs: 9_000,
        by: "ann",
      },
    ]);
  });

  test("is what it was before feature level 4, and nothing newer is said there", () => {
    expect(accepted(LEVEL_3, make("t1")).tokens).toEqual([
      { id: "t1", secretHash: "ab", scope: "viewer", createdAtMs: 1_000 },
    ]);
    for (const change of [
      make("t1", { name: "x" }),
      make("t1", { scope: "health" }),
      make("t1", { scope: "access" }),
      make("t1", { expiresAtMs: 9_000 }),
      { kind: "revoke-token", tokenId: "t1" } as const,
      { kind: "note-token-use", tokenId: "t1" } as const,
    ]) {
      expect(isUnderstoodByAll(LEVEL_3, change)).toBe(false);
      expect(isUnderstoodByAll(LEVEL_4, change)).toBe(true);
      expect(refusal(LEVEL_3, change)).toBe("feature-level-low");
    }
  });

  test("has a name of its own, which is free again once it has expired", () => {
    const one = accepted(LEVEL_4, make("t1", { name: "ann", expiresAtMs: 9_000 }));
    expect(refusal(one, make("t2", { name: "ann" }), 8_999)).toBe("token-name-taken");
    const after = accepted(one, make("t2", { name: "ann" }), 9_000);
    expect(after.tokens.map(({ id }) => id)).toEqual(["t2"]);
  });

  test("is one of a thousand at most; those that have expired do not count", () => {
    const full: ClusterState = {
      ...LEVEL_4,
      tokens: Array.from({ length: TOKENS_MAX }, (_, at) => ({
        id: `t${at}`,
        secretHash: "ab",
        scope: "viewer" as const,
        createdAtMs: 0,
        ...(at === 0 ? { expiresAtMs: 9_000 } : {}),
      })),
    };
    expect(refusal(full, make("more"), 8_999)).toBe("too-many-tokens");
    expect(accepted(full, make("more"), 9_000).tokens).toHaveLength(TOKENS_MAX);
  });

  test("is revoked whoever it is, the last admin's too", () => {
    const one = accepted(LEVEL_4, make("t1", { scope: "admin" }));
    expect(accepted(one, { kind: "revoke-token", tokenId: "t1" }).tokens).toEqual([]);
    expect(refusal(one, { kind: "revoke-token", tokenId: "t2" })).toBe("token-unknown");
  });

  test("expires at its time, not before", () => {
    const [token] = accepted(LEVEL_4, make("t1", { expiresAtMs: 9_000 })).tokens;
    if (token === undefined) throw new Error("it was made");
    expect([isExpired(token, 8_999), isExpired(token, 9_000)]).toEqual([false, true]);
  });

  test("remembers its latest use, and says nothing of it to the events", () => {
    const one = accepted(LEVEL_4, make("t1"));
    const note = { kind: "note-token-use", tokenId: "t1" } as const;
    const used = accepted(one, note, 5_000);
    expect(used.tokens[0]?.lastUsedAtMs).toBe(5_000);
    expect(accepted(used, note, 4_000).tokens[0]?.lastUsedAtMs).toBe(5_000);
    expect(apply(one, command(note)).events).toEqual([]);
    expect(refusal(one, { kind: "note-token-use", tokenId: "t2" })).toBe("token-unknown");
  });
});
