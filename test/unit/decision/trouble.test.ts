/** What the leader does about a primary in trouble, beyond a crash and silence: each line a situation and its decision. */
import { describe, expect, test } from "bun:test";
import type { Checks, DiskStatus, StandbyStatus } from "../../../src/cluster/observation.ts";
import { type ClusterSpec, DEFAULT_FAILOVER, DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import type { ClusterState, FailoverRecord, Fence } from "../../../src/cluster/state.ts";
import type { ClusterDecision } from "../../../src/decision/cluster-decision.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import { leaseEndMs } from "../../../src/decision/lease.ts";
import { REASONS, type Reason } from "../../../src/decision/reasons.ts";
import {
  clusterState,
  clusterView,
  cohort,
  epoch,
  id,
  lsn,
  member,
  NOW_MS,
  pledgedStandby,
  primary,
  reign,
  type Seen,
  standby,
  timeline,
} from "../../support/situation.ts";

const LEVEL_3 = { featureLevel: 3 } as const;
const STATE = clusterState(LEVEL_3);
const WORKS: Checks = {
  connectionFailingMs: null,
  writeFailingMs: null,
  postmasterStoppedMs: null,
  detail: null,
};
const DISK: DiskStatus = {
  place: "data",
  lastSyncMs: 1,
  pendingMs: null,
  freeBytes: 10 ** 9,
  totalBytes: 10 ** 10,
  isFull: false,
};
const STANDBYS = { m2: { postgres: standby() }, m3: { postgres: standby() } };
const MUTE = { kind: "unresponsive", detail: "no answer" } as const;

function primaryWith(more: Seen["more"], postgres: Seen["postgres"] = primary(1, ["m2", "m3"])): Seen {
  return { postgres, more: { checks: WORKS, disks: [DISK], ...more } };
}

function say(decision: ClusterDecision): string {
  const name = (memberId: string) => `m${Number(memberId.slice(-12))}`;
  if (decision.kind === "hold") return `hold ${decision.reason}`;
  if (decision.kind === "transfer-leadership") return `transfer to ${name(decision.to)}`;
  if (decision.kind === "ask-hand-over") return `ask ${name(decision.question.primaryId)}`;
  const { change } = decision;
  if (change.kind === "fence") return `fence ${change.reason}`;
  if (change.kind === "appoint") {
    const rule = change.cohort.isLeased === true ? "leased" : `any ${change.cohort.k}`;
    return `appoint ${name(change.memberId)} ${rule}${change.loss === undefined ? "" : " with a loss"}`;
  }
  if (change.kind === "change-cohort") {
    const { isLeased, k, standbyIds } = change.cohort;
    return isLeased === true ? "cohort leased" : `cohort any ${k} of ${standbyIds.map(name).join(",")}`;
  }
  return change.kind === "record-phase" ? `record ${change.phase}` : change.kind;
}

/** m1 leads, and nobody could lead in its place. */
const ALONE = { selfId: id("m1"), voterIds: [id("m1")] };

const decide = (
  state: ClusterState,
  seen: Readonly<Record<string, Seen>>,
  extra: Partial<ClusterView> = {},
) => say(decideCluster(clusterView(state, seen, extra)));

describe("a primary that is heard, and in trouble", () => {
  const stopped = { postmasterState: "stopped", checks: { ...WORKS, postmasterStoppedMs: 800 } } as const;
  const stalled = { disks: [{ ...DISK, pendingMs: 3_500 }] };
  const full = { disks: [{ ...DISK, place: "wal", isFull: true }] } as const;
  const closed = { checks: { ...WORKS, connectionFailingMs: 4_500, detail: "a new connection: refused" } };
  const dumb = { checks: { ...WORKS, writeFailingMs: 4_500 } };
  const short = { checks: { ...WORKS, connectionFailingMs: 1_500, writeFailingMs: 1_500 } };

  test.each([
    ["whose postmaster is stopped", primaryWith(stopped), "fence postmaster-frozen"],
    ["all of whose processes are stopped", primaryWith(stopped, MUTE), "fence postmaster-frozen"],
    [
      "that is stopped, but only just",
      primaryWith({ postmasterState: "stopped", checks: { ...WORKS, postmasterStoppedMs: 100 } }),
      "hold steady",
    ],
    ["whose disk stands still", primaryWith(stalled), "fence disk-stalled"],
    ["whose disk stands still, and that hangs", primaryWith(stalled, MUTE), "fence disk-stalled"],
    ["whose disk is full", primaryWith(full), "fence disk-full"],
    ["that takes no new connections", primaryWith(closed), "fence not-taking-connections"],
    ["that writes nothing", primaryWith(dumb), "fence writes-stalled"],
    ["that is slow for a moment", primaryWith(short), "hold steady"],
    ["that is slow to answer its member", primaryWith({}, MUTE), "hold primary-not-answering"],
  ] as const)("%s", (_, seen, expected) => {
    expect(decide(STATE, { m1: seen, ...STANDBYS })).toBe(expected);
  });

  test("keeps its place where nobody could follow, and the trouble is named (F10)", () => {
    const tags = { failoverPriority: 0, isNoFailover: true };
    const members = [member("m1"), member("m2", { tags }), member("m3", { tags })];
    const seen = { m1: primaryWith(stalled), ...STANDBYS };
    const decision = decideCluster(clusterView({ ...STATE, members }, seen));
    expect(decision).toMatchObject({ kind: "hold", reason: "disk-stalled" });
    expect(decision.kind === "hold" ? decision.detail : "").toContain("no other member could follow");
  });

  test("keeps its place where the same trouble awaits it elsewhere", () => {
    const sick = { postgres: standby(), more: full };
    expect(decide(STATE, { m1: primaryWith(full), m2: sick, m3: sick })).toBe("hold disk-full");
  });

  test("in trouble, it still takes in a standby that may follow it", () => {
    const lonely = clusterState({ ...LEVEL_3, reign: reign({ cohort: cohort(1, "m3") }) });
    const rule = primary(1, ["m3"]);
    const postgres = { ...primary(1, ["m2", "m3"]), synchronous: rule.synchronous };
    const m3 = { postgres: standby(), silentMs: 5_000 };
    const seen = { m1: primaryWith(full, postgres), m2: { postgres: standby() }, m3 };
    expect(decide(lonely, seen)).toBe("cohort any 1 of m2,m3");
  });

  test("is given up when its commits wait in vain for standbys that run", () => {
    const postgres = primary(1, ["m2", "m3"], { standbys: [], commitWaitMs: 3_500 });
    const apart = { postgres: standby({ walReceiver: null }) };
    expect(decide(STATE, { m1: primaryWith({}, postgres), m2: apart, m3: apart })).toBe(
      "fence commits-stalled",
    );
  });

  test("tells the history what was seen, and for how long", () => {
    const decision = decideCluster(clusterView(STATE, { m1: primaryWith(stopped), ...STANDBYS }));
    expect(decision).toMatchObject({
      change: { kind: "fence", detectionMs: 800, evidence: [expect.stringContaining("stopped")] },
    });
  });
});

describe("what keeps a failover from happening", () => {
  const dead = { m1: { postgres: { kind: "absent" } }, ...STANDBYS } as const;

  test("a pause, with its reason", () => {
    const pauses = [{ reason: "storage is being moved", by: "ann", atMs: 0 }];
    const decision = decideCluster(clusterView({ ...STATE, pauses }, dead));
    expect(decision).toMatchObject({ kind: "hold", reason: "paused", detail: "storage is being moved" });
  });

  test("a loop of crashes, for longer each time, and not for ever", () => {
    const failovers = Array.from({ length: 4 }, (_, at) => record(at + 1, at * 2_000));
    const looping = { ...STATE, failovers };
    const at = (sinceMs: number) => decide(looping, dead, { reignSinceMs: NOW_MS - sinceMs });
    expect(at(2_000)).toBe("hold crash-loop");
    expect(at(14_000)).toBe("hold crash-loop");
    expect(at(16_000)).toBe("fence postmaster-died");
    const longer = { ...STATE, failovers: [...failovers, record(5, 6_000 + 17_000)] };
    expect(decide(longer, dead, { reignSinceMs: NOW_MS - 16_000 })).toBe("hold crash-loop");
    expect(decide(longer, dead, { reignSinceMs: NOW_MS - 31_000 })).toBe("fence postmaster-died");
  });

  test("no loop: failovers that lie apart, or were asked for", () => {
    const apart = Array.from({ length: 6 }, (_, at) => record(at + 1, at * 60_000));
    expect(decide({ ...STATE, failovers: apart }, dead)).toBe("fence postmaster-died");
    const asked = Array.from({ length: 6 }, (_, at) => record(at + 1, at * 100, "switchover"));
    expect(decide({ ...STATE, failovers: asked }, dead)).toBe("fence postmaster-died");
  });

  test("right after an automatic failover: silence alone, until it has lasted twice as long", () => {
    const recent = { ...STATE, failovers: [record(1, 0)] };
    const silent = (silentMs: number) => ({
      m1: { postgres: primary(1, ["m2", "m3"]), silentMs },
      m2: { postgres: standby({ walReceiver: null }) },
      m3: { postgres: standby({ walReceiver: null }) },
    });
    const flapping = { lastFenceSinceMs: NOW_MS - 3_000 };
    expect(decide(recent, silent(1_500), flapping)).toBe("hold primary-silent");
    expect(decide(recent, silent(2_100), flapping)).toBe("fence member-lost");
    expect(decide(recent, silent(1_500), { lastFenceSinceMs: NOW_MS - 60_000 })).toBe("fence member-lost");
  });
});

describe("a reign under a lease", () => {
  const async: ClusterSpec = { ...DEFAULT_SPEC, durability: { mode: "async", maxLagBytes: 100 } };
  const LEASED = { standbyIds: [], k: 0, isLeased: true } as const;
  const leased = clusterState({ ...LEVEL_3, spec: async, reign: reign({ cohort: LEASED }) });
  const fence: Fence = { reason: "member-lost", preferredId: null, fencedAtWallMs: 0 };
  const fenced = { ...leased, reign: reign({ cohort: LEASED, fence }) };
  const crashed = {
    ...leased,
    reign: reign({ cohort: LEASED, fence: { ...fence, reason: "postmaster-died" } }),
  };
  const pledged = (at: number): Seen => ({
    postgres: pledgedStandby(at),
    promises: { pledgedEpoch: epoch(1) },
  });
  const gone: Seen = { postgres: primary(0, ["m2", "m3"]), silentMs: 5_000 };
  const stopped: Seen["postgres"] = {
    kind: "stopped",
    systemIdentifier: "7000000000000000001",
    timeline: timeline(2),
    checkpointLsn: lsn(60),
    isClean: false,
  };
  const both = { m2: pledged(100), m3: pledged(90) };

  test("ends with the lease, and not before (F6)", () => {
    const view = { leaseUntilMs: NOW_MS + 1, fenceSinceMs: NOW_MS - 2_000 };
    expect(decide(fenced, { m1: gone, ...both }, view)).toBe("hold waiting-for-lease-end");
    expect(decide(fenced, { m1: gone, ...both }, { ...view, leaseUntilMs: NOW_MS })).toBe(
      "appoint m2 leased with a loss",
    );
  });

  test("ends with the primary, once that has stopped and pledged", () => {
    const view = { leaseUntilMs: NOW_MS + 10_000, fenceSinceMs: NOW_MS - 2_000 };
    const m1: Seen = { postgres: stopped, promises: { pledgedEpoch: epoch(1) } };
    expect(decide(fenced, { m1, ...both }, view)).toBe("appoint m2 leased with a loss");
    const unpledged = { ...m1, promises: { pledgedEpoch: epoch(0) } };
    expect(decide(fenced, { m1: unpledged, ...both }, view)).toBe("hold waiting-for-lease-end");
  });

  test("lets a crashed primary come back with everything, for a while", () => {
    const m1: Seen = { postgres: stopped, promises: { pledgedEpoch: epoch(1) } };
    const early = { fenceSinceMs: NOW_MS - 500 };
    expect(decide(crashed, { m1, ...both }, early)).toBe("hold primary-restarting");
    const back: Seen = { postgres: pledgedStandby(120), promises: { pledgedEpoch: epoch(1) } };
    expect(decide(crashed, { m1: back, ...both }, early)).toBe("appoint m1 leased");
    const late = { fenceSinceMs: NOW_MS - DEFAULT_FAILOVER.restartMsMax };
    expect(decide(crashed, { m1, ...both }, late)).toBe("appoint m2 leased with a loss");
    const policy = { ...async, failover: { ...DEFAULT_FAILOVER, onCrash: "failover" } } as const;
    expect(decide({ ...crashed, spec: policy }, { m1, ...both }, { fenceSinceMs: NOW_MS - 2_000 })).toBe(
      "appoint m2 leased with a loss",
    );
  });

  test("gives standbys that are heard a moment to pledge, so that the furthest follows", () => {
    const seen = { m1: gone, m2: pledged(100), m3: { postgres: standby() } };
    expect(decide(fenced, seen, { fenceSinceMs: NOW_MS - 100 })).toBe("hold standbys-pledging");
    expect(decide(fenced, seen, { fenceSinceMs: NOW_MS - 4_500 })).toBe("appoint m2 leased with a loss");
  });

  test("is not given to one whose timeline only has the number of the primary's, however far it seems to be", () => {
    const view = { primaryLsn: lsn(110), fenceSinceMs: NOW_MS - 5_000 };
    const other = { pledgedEpoch: epoch(1), walEpoch: epoch(0), timelines: [] };
    const alien: Seen = { postgres: pledgedStandby(109), promises: other };
    const silent: Seen = { postgres: standby(), silentMs: 9_000 };
    expect(decide(fenced, { m1: gone, m2: alien, m3: silent }, view)).toStartWith("hold");
    expect(decide(fenced, { m1: gone, m2: alien, m3: pledged(100) }, view)).toBe(
      "appoint m3 leased with a loss",
    );
  });

  test("is not given to one that lacks more than may be lost, unless a person says so", () => {
    const view = { primaryLsn: lsn(500), fenceSinceMs: NOW_MS - 2_000 };
    expect(decide(fenced, { m1: gone, ...both }, view)).toBe("hold successor-too-far-behind");
    const acceptedLoss = {
      epoch: epoch(1),
      memberId: id("m2"),
      position: { timeline: timeline(2), lsn: lsn(100) },
      expiresAtMs: NOW_MS + 1,
      by: "ann",
    };
    expect(decide({ ...fenced, acceptedLoss }, { m1: gone, ...both }, view)).toBe(
      "appoint m2 leased with a loss",
    );
    const expired = { ...acceptedLoss, expiresAtMs: NOW_MS - 1 };
    expect(decide({ ...fenced, acceptedLoss: expired }, { m1: gone, ...both }, view)).toBe(
      "hold successor-too-far-behind",
    );
  });

  test("still keeps what a quorum was promised while it is being entered", () => {
    const entering = reign({ cohort: cohort(1, "m2", "m3"), pendingCohort: LEASED, fence });
    const view = { leaseUntilMs: 0, fenceSinceMs: NOW_MS - 2_000 };
    const one = { m1: gone, m2: pledged(90), m3: { postgres: standby(), silentMs: 5_000 } };
    expect(decide({ ...leased, reign: entering }, one, view)).toBe("hold waiting-for-pledges");
    const noFailover = member("m3", { tags: { failoverPriority: 0, isNoFailover: true } });
    const members = [member("m1"), member("m2"), noFailover];
    const behind = { m1: gone, m2: pledged(90), m3: pledged(100) };
    expect(decide({ ...leased, members, reign: entering }, behind, view)).toBe(
      "hold most-advanced-not-eligible",
    );
  });

  test("is entered and left through the cohort, and settled once the supervisor keeps the lease", () => {
    const quorum = clusterState({ ...LEVEL_3, spec: async });
    const healthy = { m1: primaryWith({}), ...STANDBYS };
    expect(decide(quorum, healthy)).toBe("cohort leased");
    const pending = { ...quorum, reign: reign({ pendingCohort: LEASED }) };
    const alone = primary(0, ["m2", "m3"], { synchronous: { names: "", sinceLsn: lsn(90) } });
    expect(decide(pending, { m1: primaryWith({}, alone), ...STANDBYS })).toBe("hold cohort-settling");
    const lease = { epoch: epoch(1), remainingMs: 2_000 };
    expect(decide(pending, { m1: primaryWith({ lease }, alone), ...STANDBYS })).toBe("settle-cohort");
    const back = { ...leased, spec: DEFAULT_SPEC };
    expect(decide(back, { m1: primaryWith({ lease }, alone), ...STANDBYS })).toBe("cohort any 1 of m2,m3");
  });

  test("may have a lease until what was granted last ends, or what a former leader may have granted", () => {
    expect(leaseEndMs(1_000, null, 3_000)).toBe(1_000 + 3_060);
    expect(leaseEndMs(1_000, 9_000, 3_000)).toBe(9_000 + 3_060);
    expect(leaseEndMs(9_000, 1_000, 3_000)).toBe(9_000 + 3_060);
  });
});

describe("a reign over a quorum whose stale reads are refused", () => {
  const spec: ClusterSpec = {
    ...DEFAULT_SPEC,
    durability: { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block", staleReads: "refuse" },
  };
  const fence: Fence = { reason: "member-lost", preferredId: null, fencedAtWallMs: 0 };
  const state = { ...STATE, spec, reign: reign({ fence }) };
  const pledged: Seen = { postgres: pledgedStandby(100), promises: { pledgedEpoch: epoch(1) } };
  const gone: Seen = { postgres: primary(1, ["m2", "m3"]), silentMs: 5_000 };

  test("is followed only once nothing can be read from it: its lease is over, or it has stopped", () => {
    const seen = { m1: gone, m2: pledged, m3: pledged };
    expect(decide(state, seen, { leaseUntilMs: NOW_MS + 1 })).toBe("hold waiting-for-lease-end");
    expect(decide(state, seen, { leaseUntilMs: NOW_MS })).toStartWith("appoint m2");
    const stopped: Seen = { postgres: pledgedStandby(90), promises: { pledgedEpoch: epoch(1) } };
    expect(decide(state, { ...seen, m1: stopped }, { leaseUntilMs: NOW_MS + 1 })).toStartWith("appoint m2");
  });

  test("still needs its pledges, lease or no lease", () => {
    const one = { m1: gone, m2: pledged, m3: { postgres: standby(), silentMs: 5_000 } };
    expect(decide(state, one, { leaseUntilMs: 0 })).toBe("hold waiting-for-pledges");
  });

  test("keeps its lease although a person took the loss: of reads nothing was shown (F6)", () => {
    const position = { timeline: timeline(2), lsn: lsn(100) };
    const taken = { epoch: epoch(1), memberId: id("m2"), position, expiresAtMs: NOW_MS + 1, by: "ann" };
    const one = { m1: gone, m2: pledged, m3: { postgres: standby(), silentMs: 5_000 } };
    const accepted = { ...state, acceptedLoss: taken };
    expect(decide(accepted, one, { leaseUntilMs: NOW_MS + 1 })).toBe("hold waiting-for-lease-end");
    expect(decide(accepted, one, { leaseUntilMs: NOW_MS })).toBe("appoint m2 any 1 with a loss");
  });
});

describe("a quorum's loss that a person takes", () => {
  test("appoints the member that was shown although others may hold more, and says so", () => {
    const acceptedLoss = {
      epoch: epoch(1),
      memberId: id("m2"),
      position: { timeline: timeline(2), lsn: lsn(100) },
      expiresAtMs: NOW_MS + 1,
      by: "ann",
    };
    const fence: Fence = { reason: "loss-accepted", preferredId: id("m2"), fencedAtWallMs: 0 };
    const state = { ...STATE, reign: reign({ fence }), acceptedLoss };
    const m2: Seen = { postgres: pledgedStandby(100), promises: { pledgedEpoch: epoch(1) } };
    const seen = {
      m1: { postgres: standby(), silentMs: 9_000 },
      m2,
      m3: { postgres: standby(), silentMs: 9_000 },
    };
    expect(decide(state, seen)).toBe("appoint m2 any 1 with a loss");
    expect(decide({ ...state, acceptedLoss: null }, seen)).toBe("hold waiting-for-pledges");
    const shorter = { ...m2, postgres: pledgedStandby(99) };
    expect(decide(state, { ...seen, m2: shorter })).toBe("hold waiting-for-pledges");
  });
});

describe("commits that would wait", () => {
  const degrading: ClusterSpec = {
    ...DEFAULT_SPEC,
    durability: { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "degrade" },
  };
  const two = {
    members: [member("m1"), member("m2")],
    reign: reign({ cohort: cohort(1, "m2") }),
    spec: degrading,
  };
  const waiting = (stuckMs: number) =>
    primary(1, ["m2"], {
      commitWaitMs: 450,
      standbys: [
        {
          name: "m2",
          state: "streaming",
          flushedLsn: lsn(50),
          replayedLsn: lsn(50),
          syncState: "quorum",
          stuckMs,
        },
      ],
    });

  test("do not wait for a standby that stands still, where fewer may be asked for", () => {
    const state = clusterState({ ...LEVEL_3, ...two });
    expect(decide(state, { m1: primaryWith({}, waiting(450)), m2: { postgres: standby() } }, ALONE)).toBe(
      "cohort any 0 of m2",
    );
    expect(decide(state, { m1: primaryWith({}, waiting(100)), m2: { postgres: standby() } }, ALONE)).toBe(
      "hold steady",
    );
  });

  test("are not asked of it again before it moves", () => {
    const weak = clusterState({ ...LEVEL_3, ...two, reign: reign({ cohort: cohort(0, "m2") }) });
    const stuck = primary(0, ["m2"], {
      synchronous: { names: "", sinceLsn: lsn(50) },
      standbys: [
        {
          name: "m2",
          state: "streaming",
          flushedLsn: lsn(50),
          replayedLsn: lsn(50),
          syncState: "async",
          stuckMs: 900,
        },
      ],
    });
    expect(decide(weak, { m1: primaryWith({}, stuck), m2: { postgres: standby() } }, ALONE)).toBe(
      "hold steady",
    );
    const moving = { ...stuck, standbys: stuck.standbys.map(({ stuckMs: _, ...each }) => each) };
    expect(decide(weak, { m1: primaryWith({}, moving), m2: { postgres: standby() } }, ALONE)).toBe(
      "cohort any 1 of m2",
    );
  });

  test("keep their promise where the policy is to block", () => {
    const blocking = clusterState({ ...LEVEL_3, ...two, spec: DEFAULT_SPEC });
    expect(decide(blocking, { m1: primaryWith({}, waiting(450)), m2: { postgres: standby() } }, ALONE)).toBe(
      "hold steady",
    );
  });
});

describe("the history", () => {
  const told = (...phases: readonly FailoverRecord["phases"][number]["phase"][]) =>
    clusterState({
      ...LEVEL_3,
      failovers: [
        { ...record(1, 0), nextEpoch: epoch(1), phases: phases.map((phase) => ({ phase, afterMs: 1 })) },
      ],
    });

  test("is told when writes are acknowledged again, and when everybody is back", () => {
    const healthy = { m1: primaryWith({}), ...STANDBYS };
    expect(decide(told("revoked", "promoted"), healthy)).toBe("record writable");
    expect(decide(told("writable"), healthy)).toBe("record rejoined");
    expect(decide(told("writable", "rejoined"), healthy)).toBe("hold steady");
    const one = primary(1, ["m2", "m3"], { standbys: primary(1, ["m2"]).standbys });
    expect(decide(told("writable"), { m1: primaryWith({}, one), ...STANDBYS })).not.toBe("record rejoined");
  });
});

test("every reason has a sentence (F10)", () => {
  const reasons = Object.keys(REASONS) as Reason[];
  expect(reasons.length).toBeGreaterThan(60);
  for (const reason of reasons) expect(REASONS[reason]).toMatch(/[.)]$/);
});

function record(number: number, atMs: number, kind: FailoverRecord["kind"] = "automatic"): FailoverRecord {
  return {
    number,
    kind,
    epoch: epoch(number),
    nextEpoch: epoch(number + 1),
    from: "m1",
    to: "m2",
    reason: "postmaster-died",
    by: "leader",
    evidence: [],
    atMs,
    detectionMs: 1,
    phases: [],
    positions: [],
    passedOver: [],
    loss: null,
  };
}

describe("a dead host breaks no connection", () => {
  const dead = { postgres: primary(1, ["m2", "m3"]), silentMs: 1_100 };
  const stream = { upstream: "m1:5432", status: "streaming" };
  const silent = { postgres: standby({ walReceiver: { ...stream, silentMs: 950 } }) };

  test("so a stream in which nothing comes is no sign of life", () => {
    expect(decide(STATE, { m1: dead, m2: silent, m3: silent })).toBe("fence member-lost");
    expect(decide(STATE, { m1: dead, m2: silent, m3: { postgres: standby() } })).toBe(
      "hold primary-silent-but-streaming",
    );
  });

  test("nor do commits wait for who hears nothing, however connected", () => {
    const postgres = primary(1, ["m2", "m3"], { commitWaitMs: 3_500 });
    expect(decide(STATE, { m1: primaryWith({}, postgres), m2: silent, m3: silent })).toBe(
      "fence commits-stalled",
    );
    const one = { m2: silent, m3: { postgres: standby() } };
    expect(decide(STATE, { m1: primaryWith({}, postgres), ...one })).toBe("hold steady");
  });
});

describe("a primary that ended cleanly and pledged (F1, F5)", () => {
  const fence: Fence = { reason: "switchover", preferredId: id("m2"), fencedAtWallMs: 0 };
  const state = { ...STATE, reign: reign({ fence }) };
  const ended = (
    over: Partial<Extract<Seen["postgres"], { kind: "stopped" }>> = {},
    pledgedEpoch = 1,
  ): Seen => ({
    postgres: {
      kind: "stopped",
      systemIdentifier: "7000000000000000001",
      timeline: timeline(2),
      checkpointLsn: lsn(100),
      isClean: true,
      isFinal: true,
      ...over,
    },
    promises: { pledgedEpoch: epoch(pledgedEpoch) },
  });
  const pledged = (at: number): Seen => ({
    postgres: pledgedStandby(at),
    promises: { pledgedEpoch: epoch(1) },
  });
  const frozen: Seen = { postgres: { kind: "unresponsive", detail: "" } };

  test("needs no other witness than one standby that has received its last checkpoint", () => {
    expect(decide(state, { m1: ended(), m2: pledged(101), m3: frozen })).toBe("appoint m2 any 1");
  });

  test("is followed by the switchover's target, which is given a second to pledge after another standby has", () => {
    const seen = { m1: ended(), m2: { postgres: standby() }, m3: pledged(101) };
    expect(decide(state, seen, { fenceSinceMs: NOW_MS - 900 })).toBe("hold standbys-pledging");
    expect(decide(state, seen, { fenceSinceMs: NOW_MS - 1_000 })).toBe("appoint m3 any 1");
    expect(decide(state, { ...seen, m2: pledged(101) }, { fenceSinceMs: NOW_MS })).toBe("appoint m2 any 1");
  });

  test.each([
    ["its last checkpoint was not received", ended(), 100],
    ["it ended as a standby: there may be more beyond that checkpoint", ended({ isFinal: false }), 101],
    ["it has not pledged", ended({}, 0), 101],
    ["it ended on another timeline", ended({ timeline: timeline(1) }), 101],
  ])("is not enough where %s", (_, m1, at) => {
    expect(decide(state, { m1, m2: pledged(at), m3: frozen })).toBe("hold waiting-for-pledges");
  });
});

describe("a reign that a person ends", () => {
  const fence: Fence = { reason: "operator", preferredId: null, fencedAtWallMs: 0 };
  const pledged = (at: number): Seen => ({
    postgres: pledgedStandby(at),
    promises: { pledgedEpoch: epoch(1) },
  });
  const by = (over: Partial<Fence>): ClusterState => ({
    ...STATE,
    reign: reign({ cohort: { standbyIds: [id("m3")], k: 1 }, fence: { ...fence, ...over } }),
  });

  test("is followed by another among equals, and by its primary where that alone has everything", () => {
    const equals = { m1: pledged(100), m3: pledged(100) };
    expect(decide(by({}), equals)).toBe("appoint m3 any 1");
    expect(decide(by({ reason: "member-lost" }), equals)).toBe("appoint m1 any 1");
    expect(decide(by({}), { m1: pledged(101), m3: pledged(100) })).toBe("appoint m1 any 1");
  });

  describe("in favour of a member outside the cohort", () => {
    const state = by({ preferredId: id("m2") });
    const mute: Seen = { postgres: { kind: "unresponsive", detail: "" } };
    const asked = (m2: Seen, m3 = pledged(100), m1 = mute) =>
      decide(state, { m1, m2, m3 }, { fenceSinceMs: NOW_MS });

    test("goes to it where it has at least all that the furthest of the cohort has", () => {
      expect(asked(pledged(100))).toBe("appoint m2 any 1");
      expect(asked(pledged(101))).toBe("appoint m2 any 1");
      // The old primary itself, stopped and pledged, may be the furthest.
      expect(asked(pledged(101), pledged(100), pledged(101))).toBe("appoint m2 any 1");
    });

    test("goes to another where it has less, or nobody else could be the witness", () => {
      expect(asked(pledged(99))).toBe("appoint m3 any 1");
      expect(asked(pledged(100), pledged(100), pledged(101))).toBe("appoint m1 any 1");
      expect(asked(pledged(999), { ...pledged(100), silentMs: 60_000 })).toBe("hold waiting-for-pledges");
    });

    test.each<[string, Partial<Seen>]>([
      ["it is of another timeline", { postgres: pledgedStandby(500, { timeline: timeline(3) }) }],
      ["it did not follow this reign", { promises: { pledgedEpoch: epoch(1), walEpoch: epoch(0) } }],
      [
        "its books say that another reign wrote its timeline",
        { promises: { pledgedEpoch: epoch(1), timelines: [{ timeline: timeline(2), epoch: epoch(0) }] } },
      ],
      [
        "its books say that its timeline grew out of another",
        { promises: { pledgedEpoch: epoch(1), timelines: [{ timeline: timeline(1), epoch: epoch(1) }] } },
      ],
      ["it is of another cluster", { postgres: pledgedStandby(500, { systemIdentifier: "7" }) }],
    ])("goes to another where %s, however long its WAL is", (_, over) => {
      expect(asked({ ...pledged(500), ...over })).toBe("appoint m3 any 1");
    });

    test("goes to another where it may not be promoted", () => {
      const tags = { failoverPriority: 0, isNoFailover: true };
      for (const over of [{ tags }, { isLeaving: true }]) {
        const members = [member("m1"), member("m2", over), member("m3")];
        const seen = { m1: mute, m2: pledged(500), m3: pledged(100) };
        expect(decide({ ...state, members }, seen, { fenceSinceMs: NOW_MS })).toBe("appoint m3 any 1");
      }
    });

    test("waits a second for its pledge, if it follows this reign", () => {
      const streaming: Seen = { postgres: standby() };
      const seen = { m1: mute, m2: streaming, m3: pledged(100) };
      expect(decide(state, seen, { fenceSinceMs: NOW_MS - 900 })).toBe("hold standbys-pledging");
      expect(decide(state, seen, { fenceSinceMs: NOW_MS - 1_000 })).toBe("appoint m3 any 1");
      const stranger = { ...seen, m2: { ...streaming, promises: { walEpoch: epoch(0) } } };
      expect(decide(state, stranger, { fenceSinceMs: NOW_MS })).toBe("appoint m3 any 1");
    });

    test("is not chosen by itself, however far it is", () => {
      const seen = { m1: mute, m2: pledged(500), m3: pledged(100) };
      expect(decide(by({}), seen)).toBe("appoint m3 any 1");
    });
  });
});

test("a reign whose primary fell before its promotion was recorded is ended at once", () => {
  const begun = {
    ...STATE,
    reign: reign({ lineage: null, appointedAt: { timeline: timeline(1), lsn: lsn(50) } }),
  };
  const promises = { walEpoch: epoch(1) };
  const fell = (on: number, doing: Partial<StandbyStatus> = {}): Seen => ({
    postgres: pledgedStandby(100, { timeline: timeline(on), ...doing }),
    promises,
  });
  expect(decide(begun, { m1: fell(2), ...STANDBYS })).toBe("fence postmaster-died");
  const young = { reignSinceMs: NOW_MS - 1_000, leadingSinceMs: NOW_MS - 2_000 };
  expect(decide(begun, { m1: fell(1), ...STANDBYS }, young)).toBe("hold promotion-under-way");
  const opening = fell(2, { isPromoting: true });
  expect(decide(begun, { m1: opening, ...STANDBYS }, young)).toBe("hold promotion-under-way");
});
