import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import { trustedAuthorities, whyAuthorityWaits } from "../../../src/cluster/authority-change.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import type { CertificatesStatus } from "../../../src/cluster/observation.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState, id } from "../../support/situation.ts";

const OLD = { certificatePem: "old", privateKeyPem: "old-key" };
const NEW = { certificatePem: "new", privateKeyPem: "new-key" };
const JOIN = { id: "j", secretHash: "h", expiresAtMs: 9_000, usedBy: null };
const BEFORE = clusterState({ featureLevel: 4, authority: OLD, joinTokens: [JOIN] });

const replace: Change = {
  kind: "replace-authority",
  operationId: "op-1",
  memberId: id("m1"),
  presentPem: "old",
  presentFingerprint: "f-old",
  authority: NEW,
  fingerprint: "f-new",
  isHeld: false,
};
const advance = (step: "sign" | "forget"): Change => ({
  kind: "advance-authority",
  operationId: "op-1",
  step,
});
const steer = (wish: "hold" | "resume" | "cancel"): Change => ({
  kind: "steer-authority",
  operationId: "op-1",
  wish,
});

const asked = { address: null, request: "POST /v1/x" };
const command = (change: Change): Command => ({ id: "c", atMs: 5_000, by: "ann", change, asked });

function past(state: ClusterState, ...changes: readonly Change[]): ClusterState {
  return changes.reduce((so, change) => {
    const applied = apply(so, command(change));
    if (!applied.outcome.ok || applied.state === null) throw new Error(`${change.kind} was refused`);
    return applied.state;
  }, state);
}

function refused(state: ClusterState, change: Change): string {
  const applied = apply(state, command(change));
  expect(applied.state).toBe(state);
  return applied.outcome.ok ? "accepted" : applied.outcome.code;
}

const operationOf = (state: ClusterState) => state.operations.at(-1);
const trusted = (state: ClusterState) =>
  trustedAuthorities(state).map(({ certificatePem }) => certificatePem);

describe("an authority that is replaced", () => {
  test("is trusted beside the new one first, and signs meanwhile", () => {
    const state = past(BEFORE, replace);
    expect(state.authority).toBe(OLD);
    expect(trusted(state)).toEqual(["old", "new"]);
    expect(state.joinTokens).toEqual([JOIN]);
    expect(operationOf(state)).toMatchObject({
      kind: "authority-change",
      phase: "trusting",
      status: "running",
    });
  });

  test("then the new one signs, and join tokens that nobody used and that name the former one end", () => {
    const used = { ...JOIN, id: "used", usedBy: "m3" };
    const state = past({ ...BEFORE, joinTokens: [JOIN, used] }, replace, advance("sign"));
    expect(state.authority).toBe(NEW);
    expect(trusted(state)).toEqual(["new", "old"]);
    expect(state.joinTokens).toEqual([used]);
    expect(state.authorityChange).toMatchObject({ fingerprint: "f-new", otherFingerprint: "f-old" });
    expect(operationOf(state)?.phase).toBe("signing");
    expect(operationOf(state)?.log.at(-1)?.message).toContain("1 join tokens");
  });

  test("and at last counts for nobody, and its key is gone", () => {
    const state = past(BEFORE, replace, advance("sign"), advance("forget"));
    expect(trusted(state)).toEqual(["new"]);
    expect(state.formerAuthorities).toEqual(["old"]);
    expect(state.authorityChange).toBeNull();
    expect(JSON.stringify(state)).not.toContain("old-key");
    expect(operationOf(state)).toMatchObject({ status: "succeeded", finishedAtMs: 5_000 });
  });

  test("can be replaced again; only the latest of those that were are remembered", () => {
    let state: ClusterState = BEFORE;
    for (let at = 0; at < 12; at += 1) {
      const operationId = `op-${at}`;
      const next = { certificatePem: `ca-${at}`, privateKeyPem: "k" };
      const presentPem = state.authority.certificatePem;
      state = past(
        state,
        { ...replace, operationId, presentPem, authority: next },
        { kind: "advance-authority", operationId, step: "sign" },
        { kind: "advance-authority", operationId, step: "forget" },
      );
    }
    expect(state.authority.certificatePem).toBe("ca-11");
    expect(state.formerAuthorities).toEqual(Array.from({ length: 10 }, (_, at) => `ca-${at + 1}`));
  });

  test("no step comes twice, out of turn, or while somebody holds it", () => {
    expect(refused(BEFORE, advance("sign"))).toBe("stale-operation");
    const begun = past(BEFORE, replace);
    expect(refused(begun, { ...replace, operationId: "op-2" })).toBe("operation-running");
    expect(refused(begun, advance("forget"))).toBe("stale-operation");
    expect(refused(begun, { ...advance("sign"), operationId: "op-0" } as Change)).toBe("stale-operation");
    const held = past(begun, steer("hold"));
    expect(operationOf(held)?.phase).toBe("held");
    expect(refused(held, advance("sign"))).toBe("operation-running");
    const signing = past(held, steer("resume"), advance("sign"));
    expect(refused(signing, advance("sign"))).toBe("stale-operation");
    expect(refused(past(signing, steer("hold")), advance("forget"))).toBe("operation-running");
  });

  test("may be held from the beginning", () => {
    const held = past(BEFORE, { ...replace, isHeld: true });
    expect(refused(held, advance("sign"))).toBe("operation-running");
    expect(operationOf(past(held, steer("resume")))?.phase).toBe("trusting");
  });

  test("is not replaced by one that was made for another, nor before every member understands it", () => {
    expect(refused({ ...BEFORE, authority: NEW }, replace)).toBe("stale-generation");
    expect(refused({ ...BEFORE, featureLevel: 3 }, replace)).toBe("feature-level-low");
  });

  test("stays where it is cancelled before anything was signed", () => {
    const state = past(BEFORE, replace, steer("cancel"));
    expect(state.authority).toBe(OLD);
    expect(trusted(state)).toEqual(["old"]);
    expect(state.formerAuthorities).toEqual(["new"]);
    expect(state.joinTokens).toEqual([JOIN]);
    expect(JSON.stringify(state)).not.toContain("new-key");
    expect(operationOf(state)).toMatchObject({ status: "failed" });
  });

  test("signs again where it is cancelled later; both are trusted until nobody shows one of the new", () => {
    const minted = { ...JOIN, id: "since" };
    const signing = past(BEFORE, replace, advance("sign"));
    const back = past({ ...signing, joinTokens: [minted] }, steer("cancel"));
    expect(back.authority).toEqual(OLD);
    expect(trusted(back)).toEqual(["old", "new"]);
    expect(back.joinTokens).toEqual([]);
    expect(operationOf(back)).toMatchObject({ status: "running", phase: "going-back" });
    expect(refused(back, steer("cancel"))).toBe("not-steerable");
    const gone = past(back, advance("forget"));
    expect(trusted(gone)).toEqual(["old"]);
    expect(gone.formerAuthorities).toEqual(["new"]);
    expect(operationOf(gone)).toMatchObject({ status: "failed" });
    expect(operationOf(gone)?.log.at(-1)?.message).toContain("ended by ann");
  });

  test("holds up neither the removal nor the rebuilding of the member that was asked", () => {
    const state = past(BEFORE, { ...replace, memberId: id("m2") });
    past(state, { kind: "reinitialize-member", memberId: id("m2"), operationId: "r" });
    const left = past(state, { kind: "remove-member", memberId: id("m2"), operationId: "x" });
    expect(operationOf(left)?.kind).toBe("remove");
  });

  test("is what counts alone where the group was recovered in between", () => {
    const state = past(BEFORE, replace, advance("sign"), {
      kind: "recover-group",
      clusterId: BEFORE.clusterId,
      memberId: id("m1"),
      makePrimary: false,
    });
    expect(trusted(state)).toEqual(["new"]);
    expect(state.formerAuthorities).toEqual(["old"]);
  });

  test("leaves no key in any event, any operation or the audit trail", () => {
    let state: ClusterState = BEFORE;
    let told = "";
    const all = [
      replace,
      advance("sign"),
      steer("hold"),
      steer("resume"),
      steer("cancel"),
      advance("forget"),
    ];
    for (const change of all) {
      const applied = apply(state, command(change));
      if (applied.state === null) throw new Error("it was formed");
      state = applied.state;
      told += JSON.stringify([applied.events, state.operations]);
    }
    expect(told).toContain("audit.replace-authority");
    expect(told).toContain("audit.steer-authority");
    expect(told).not.toContain("-key");
  });
});

describe("what is waited for", () => {
  const trust = past(BEFORE, replace).authorityChange;
  const sign = past(BEFORE, replace, advance("sign")).authorityChange;
  const says = (over: Partial<CertificatesStatus>): CertificatesStatus => ({
    memberEndsAtMs: 0,
    apiEndsAtMs: 0,
    authorityEndsAtMs: 0,
    problems: [],
    ...over,
  });
  const both = { trusted: ["f-old", "f-new"] };
  test.each([
    ["a member that is not heard", trust, null, "silent"],
    ["one that says nothing of it", trust, says({}), "old-release"],
    ["one of which nothing of certificates is known", trust, undefined, "old-release"],
    ["one that trusts one of the two", trust, says({ trusted: ["f-old"], issuer: "f-old" }), "trust"],
    ["no certificate, before any is signed", trust, says({ ...both, issuer: "f-old" }), null],
    ["one that shows the former one's", sign, says({ ...both, issuer: "f-old" }), "certificate"],
    ["one that shows nobody knows whose", sign, says(both), "certificate"],
    ["nobody, once it shows the new one's", sign, says({ ...both, issuer: "f-new" }), null],
    ["a newcomer that trusts one of the two", sign, says({ trusted: ["f-new"], issuer: "f-new" }), "trust"],
  ] as const)("%s", (_name, change, certificates, wait) => {
    if (change == null) throw new Error("it is under way");
    expect(whyAuthorityWaits(change, certificates)).toBe(wait);
  });
});
