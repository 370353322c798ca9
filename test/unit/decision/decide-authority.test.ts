import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import type { AuthorityChange } from "../../../src/cluster/authority-change.ts";
import type { CertificatesStatus } from "../../../src/cluster/observation.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import {
  clusterState,
  clusterView,
  id,
  member,
  primary,
  reign,
  type Seen,
  standby,
} from "../../support/situation.ts";

const SILENT_MS = 60_000;
const OLD = { certificatePem: "old", privateKeyPem: "k" };
const NEW = { certificatePem: "new", privateKeyPem: "k" };
const TRUST: AuthorityChange = {
  operationId: "op-1",
  step: "trust",
  other: NEW,
  fingerprint: "f-old",
  otherFingerprint: "f-new",
};
const SIGN: AuthorityChange = {
  operationId: "op-1",
  step: "sign",
  other: OLD,
  fingerprint: "f-new",
  otherFingerprint: "f-old",
};

function certificates(issuer: string, ...trusted: readonly string[]): CertificatesStatus {
  return { memberEndsAtMs: 0, apiEndsAtMs: 0, authorityEndsAtMs: 0, problems: [], issuer, trusted };
}
const old = certificates("f-old", "f-old");
const both = certificates("f-old", "f-old", "f-new");
const signed = certificates("f-new", "f-old", "f-new");

function seen(
  m1: CertificatesStatus,
  m2: CertificatesStatus,
  m3: CertificatesStatus | null,
): Record<string, Seen> {
  return {
    m1: { postgres: primary(1, ["m2", "m3"]), more: { certificates: m1 } },
    m2: { postgres: standby(), more: { certificates: m2 } },
    m3: {
      postgres: standby(),
      more: { certificates: m3 ?? both },
      ...(m3 === null ? { silentMs: SILENT_MS, isConnected: false } : {}),
    },
  };
}

function stateWith(authorityChange: AuthorityChange, over: Partial<ClusterState> = {}): ClusterState {
  const operation = {
    id: "op-1",
    kind: "authority-change",
    memberId: id("m1"),
    by: "ann",
    startedAtMs: 0,
    finishedAtMs: null,
    status: "running",
    phase: authorityChange.step === "trust" ? "trusting" : "signing",
    log: [],
  } as const;
  return clusterState({ featureLevel: 4, authorityChange, operations: [operation], ...over });
}

/** `sign`, `forget`, the phase that is told, or the reason of a hold. */
function say(state: ClusterState, all: Record<string, Seen>): string {
  const decision = decideCluster(clusterView(state, all));
  if (decision.kind !== "propose") return decision.reason;
  const { change } = decision;
  if (change.kind === "advance-authority") return change.step;
  return change.kind === "progress-operation" ? change.phase : change.kind;
}

describe("an authority that is being replaced", () => {
  test("signs once every member trusts both", () => {
    expect(say(stateWith(TRUST), seen(both, both, old))).toBe("steady");
    expect(say(stateWith(TRUST), seen(both, both, both))).toBe("sign");
  });

  test("takes the other's place once no member shows one of that", () => {
    expect(say(stateWith(SIGN), seen(signed, both, signed))).toBe("steady");
    expect(say(stateWith(SIGN), seen(signed, signed, signed))).toBe("forget");
  });

  test("waits for a member that is away, and says so once", () => {
    const [operation] = stateWith(TRUST).operations;
    if (operation === undefined) throw new Error("it is under way");
    // A standby that is away has left the synchronous ones by then.
    const cohort = { standbyIds: [id("m2")], k: 1 };
    const away = {
      ...seen(signed, signed, null),
      m1: { postgres: primary(1, ["m2"]), more: { certificates: signed } },
    };
    for (const change of [TRUST, SIGN]) {
      const state = stateWith(change, { reign: reign({ cohort }) });
      expect(say(state, away)).toBe("waiting for m3");
      const told = { ...state, operations: [{ ...operation, phase: "waiting for m3" }] };
      expect(say(told, away)).toBe("steady");
    }
  });

  test("says when all are heard again, and goes on", () => {
    const state = stateWith(TRUST);
    const operations = state.operations.map((each) => ({ ...each, phase: "waiting for m3" }));
    expect(say({ ...state, operations }, seen(both, both, both))).toBe("trusting");
  });

  test("goes on once the member that is away is no member any more", () => {
    const members = [member("m1"), member("m2")];
    const cohort = { standbyIds: [id("m2")], k: 1 };
    const state = stateWith(SIGN, { members, reign: reign({ cohort }) });
    const two = {
      m1: { postgres: primary(1, ["m2"]), more: { certificates: signed } },
      m2: { postgres: standby(), more: { certificates: signed } },
    };
    expect(say(state, two)).toBe("forget");
  });

  test("waits for a member that is being removed as for any other: until it is gone, it speaks to others", () => {
    const leaving = [member("m1"), member("m2"), member("m3", { isLeaving: true })];
    expect(say(stateWith(TRUST, { members: leaving }), seen(both, both, old))).not.toBe("sign");
  });

  test("goes no further while somebody holds it", () => {
    expect(say(stateWith({ ...TRUST, isHeld: true }), seen(both, both, both))).toBe("steady");
    expect(say(stateWith({ ...SIGN, isHeld: true }), seen(signed, signed, signed))).toBe("steady");
  });

  test("goes no further while the primary changes", () => {
    const fence = { reason: "postmaster-died", preferredId: null, fencedAtWallMs: 0 };
    const state = stateWith(TRUST, { reign: reign({ fence }) });
    expect(say(state, seen(both, both, both))).not.toBe("sign");
  });

  test("goes the same way back where it was cancelled", () => {
    const back: AuthorityChange = {
      ...SIGN,
      other: NEW,
      fingerprint: "f-old",
      otherFingerprint: "f-new",
      cancelledBy: "ann",
    };
    expect(say(stateWith(back), seen(both, signed, both))).toBe("steady");
    expect(say(stateWith(back), seen(both, both, both))).toBe("forget");
  });

  test("goes on without a PostgreSQL, too", () => {
    const bare = { reign: null, initialization: null, systemIdentifier: null };
    const all = Object.fromEntries(
      ["m1", "m2", "m3"].map((name) => [
        name,
        { postgres: { kind: "absent" }, more: { certificates: both } },
      ]),
    ) as Record<string, Seen>;
    expect(say(stateWith(TRUST, bare), all)).toBe("sign");
  });

  test("is at its end after two steps of whoever leads, whatever leads in between", () => {
    const begun = stateWith(TRUST, { authority: OLD });
    const step = (state: ClusterState, all: Record<string, Seen>): ClusterState => {
      const decision = decideCluster(clusterView(state, all));
      if (decision.kind !== "propose") throw new Error(`held: ${decision.reason}`);
      const applied = apply(state, { id: "c", atMs: 1, by: "leader", change: decision.change });
      if (applied.state === null || !applied.outcome.ok) throw new Error("refused");
      return applied.state;
    };
    const signing = step(begun, seen(both, both, both));
    const over = step(signing, seen(signed, signed, signed));
    expect(over.authority).toEqual(NEW);
    expect(over.operations[0]?.status).toBe("succeeded");
    expect(say(over, seen(signed, signed, signed))).toBe("steady");
  });
});
