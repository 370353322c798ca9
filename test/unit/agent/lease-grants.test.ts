/** A leader hands a primary's stamp back only after a quorum confirmed, since the stamp came in, that it leads (F6). */
import { expect, test } from "bun:test";
import { LEASE_METHOD, LeaseGrants, parseLeaseGrant } from "../../../src/agent/lease-grants.ts";
import type { Clock } from "../../../src/base/clock.ts";
import type { MemberId } from "../../../src/base/ids.ts";
import type { BarrierResult, Consensus } from "../../../src/cluster/consensus.ts";
import type { Observation } from "../../../src/cluster/observation.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState, epoch, id, observation, primary, reign } from "../../support/situation.ts";

const LEASED = { standbyIds: [], k: 0, isLeased: true } as const;
const QUIET = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
const LEADING_SINCE_MS = 1_000;

/** A leader whose quorum answers when the test says so. */
class Leader {
  nowMs = 10_000;
  role: "leader" | "follower" = "leader";
  state: ClusterState = clusterState({ reign: reign({ cohort: LEASED }) });
  stampMs = 500;
  statusAtMs = 9_990;
  readonly calls: unknown[] = [];
  readonly barriers: PromiseWithResolvers<BarrierResult>[] = [];
  readonly grants: LeaseGrants;

  constructor(selfId: MemberId = id("m2")) {
    const clock: Clock = { nowMs: () => this.nowMs, wallMs: () => 0, sleep: () => Promise.resolve() };
    const consensus: Pick<Consensus, "barrier" | "call"> & { state: ClusterState } = {
      state: this.state,
      barrier: () => {
        const barrier = Promise.withResolvers<BarrierResult>();
        this.barriers.push(barrier);
        return barrier.promise;
      },
      call: async (to, method, payload) => this.calls.push([to, method, payload]),
    };
    const live = Object.defineProperties(consensus, {
      state: { get: () => this.state },
      raft: { get: () => ({ role: this.role, term: 7 }) },
      observations: { get: () => this.#observations() },
    });
    this.grants = new LeaseGrants({
      selfId,
      consensus: live as unknown as Consensus,
      clock,
      log: QUIET,
      grantHere: (grant) => this.calls.push(["here", grant]),
    });
  }

  #observations(): ReadonlyMap<MemberId, Observation> {
    const seen = observation("m1", { postgres: primary(0, []), more: { leaseStampMs: this.stampMs } });
    return new Map([[id("m1"), { ...seen, statusAtMs: this.statusAtMs }]]);
  }

  consider(): void {
    this.grants.consider(LEADING_SINCE_MS);
  }

  async confirm(result: BarrierResult = { kind: "reached", index: 1 as never }): Promise<void> {
    this.barriers.at(-1)?.resolve(result);
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
  }

  get untilMs(): number {
    return this.grants.leaseUntilMs(LEADING_SINCE_MS);
  }
}

const GRANT = { epoch: epoch(1), stampMs: 500, durationMs: 3_000 };

test("a stamp comes back once a quorum has confirmed the lead, and counts from then on", async () => {
  const leader = new Leader();
  leader.consider();
  expect(leader.calls).toEqual([]);
  expect(leader.untilMs).toBe(LEADING_SINCE_MS + 3_060);
  leader.nowMs = 10_040;
  await leader.confirm();
  expect(leader.calls).toEqual([[id("m1"), LEASE_METHOD, GRANT]]);
  expect(leader.untilMs).toBe(10_040 + 3_060);
});

test("the same stamp is confirmed once", async () => {
  const leader = new Leader();
  leader.consider();
  leader.consider();
  await leader.confirm();
  leader.consider();
  expect(leader.barriers).toHaveLength(1);
  leader.stampMs = 700;
  leader.consider();
  expect(leader.barriers).toHaveLength(2);
});

test.each([
  ["the quorum does not answer", (leader: Leader) => leader.confirm({ kind: "unknown", reason: "late" })],
  [
    "the lead was lost meanwhile",
    (leader: Leader) => {
      leader.role = "follower";
      return leader.confirm();
    },
  ],
  [
    "the reign is being ended by then",
    (leader: Leader) => {
      const fence = { reason: "member-lost", preferredId: null, fencedAtWallMs: 0 };
      leader.state = clusterState({ reign: reign({ cohort: LEASED, fence }) });
      return leader.confirm();
    },
  ],
  [
    "another reign has begun",
    (leader: Leader) => {
      leader.state = clusterState({ reign: reign({ cohort: LEASED, epoch: epoch(2) }) });
      return leader.confirm();
    },
  ],
])("nothing is granted when %s", async (_, happen) => {
  const leader = new Leader();
  leader.consider();
  await happen(leader);
  expect(leader.calls).toEqual([]);
  expect(leader.untilMs).toBe(LEADING_SINCE_MS + 3_060);
});

test("nothing is granted for what was said before this member led, nor where no lease is needed", () => {
  const early = new Leader();
  early.statusAtMs = LEADING_SINCE_MS - 1;
  early.consider();
  const quorum = new Leader();
  quorum.state = clusterState();
  quorum.consider();
  expect([...early.barriers, ...quorum.barriers]).toEqual([]);
});

test("a leader that reigns grants to itself in the same way", async () => {
  const leader = new Leader(id("m1"));
  leader.consider();
  await leader.confirm();
  expect(leader.calls).toEqual([["here", GRANT]]);
});

test("parseLeaseGrant() takes a grant and nothing else", () => {
  expect(parseLeaseGrant(GRANT)).toEqual(GRANT);
  for (const wrong of [
    null,
    {},
    { ...GRANT, epoch: 0 },
    { ...GRANT, durationMs: 0 },
    { ...GRANT, stampMs: "1" },
  ])
    expect(() => parseLeaseGrant(wrong)).toThrow("a lease needs");
});
