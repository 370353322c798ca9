import { expect, test } from "bun:test";
import type { Fence, Operation } from "../../../src/cluster/state.ts";
import type { ClusterDecision } from "../../../src/decision/cluster-decision.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
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
  promises,
  reign,
  standby,
  timeline,
} from "../../support/situation.ts";

const FENCE: Fence = { reason: "postmaster-died", preferredId: null, fencedAtWallMs: 0 };
const PLEDGED = { pledgedEpoch: epoch(1) };
const FENCED = clusterState({ reign: reign({ fence: FENCE }) });
const NO_SYNC_M2 = member("m2", { tags: { failoverPriority: 0, isNoFailover: false, isNoSync: true } });
const DEAD = {
  kind: "stopped",
  systemIdentifier: "7000000000000000001",
  timeline: timeline(2),
  checkpointLsn: lsn(60),
  isClean: false,
} as const;
const lost = standby({ walReceiver: null });
const ANNOUNCED_AGAIN = clusterState({
  featureLevel: 4,
  reign: reign({ cohort: cohort(1, "m2"), pendingCohort: cohort(1, "m2", "m3"), cohortNumber: 3 }),
});
const SECOND_COHORT = { epoch: epoch(1), number: 2 };
const initializing: Operation = {
  id: "op",
  kind: "initialize",
  memberId: id("m1"),
  by: "local",
  startedAtMs: 0,
  finishedAtMs: null,
  status: "running",
  phase: "cloning",
  log: [],
};

/** A decision in a line: `fence 1 postmaster-died`, `appoint m2 epoch 2 any 1 of m3`, `hold steady`. */
function say(decision: ClusterDecision): string {
  const name = (memberId: string) => `m${Number(memberId.slice(-12))}`;
  switch (decision.kind) {
    case "hold":
      return `hold ${decision.reason}`;
    case "transfer-leadership":
      return `transfer to ${name(decision.to)}`;
    case "ask-hand-over":
      return `ask ${name(decision.question.primaryId)}`;
    case "propose": {
      const { change } = decision;
      const rule =
        "cohort" in change
          ? ` any ${change.cohort.k} of ${change.cohort.standbyIds.map(name).join(",")}`
          : "";
      if (change.kind === "appoint")
        return `appoint ${name(change.memberId)} epoch ${change.previousEpoch + 1}${rule}`;
      if (change.kind === "fence") return `fence ${change.epoch} ${change.reason}`;
      return `${change.kind}${rule}`;
    }
  }
}

const healthy = {
  m1: { postgres: primary(1, ["m2", "m3"]) },
  m2: { postgres: standby() },
  m3: { postgres: standby() },
};
const degrade = {
  durability: { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "degrade" },
  timing: clusterState().spec.timing,
} as const;

const table: readonly (readonly [string, ClusterView, string])[] = [
  ["leaves a healthy cluster alone", clusterView(clusterState(), healthy), "hold steady"],
  [
    "waits for somebody to say what to build",
    clusterView(clusterState({ initialization: null, reign: null, systemIdentifier: null }), {}),
    "hold not-initialized",
  ],
  [
    "records the history that initdb made",
    clusterView(clusterState({ reign: null, systemIdentifier: null }), { m1: { postgres: DEAD } }),
    "record-system",
  ],
  [
    "appoints the initialised member, alone at first",
    clusterView(clusterState({ reign: null }), { m1: { postgres: DEAD } }),
    "appoint m1 epoch 1 any 0 of ",
  ],
  // Suspicion.
  [
    "ends the reign at once when the primary's own member saw the postmaster die",
    clusterView(clusterState(), { ...healthy, m1: { postgres: DEAD } }),
    "fence 1 postmaster-died",
  ],
  [
    "does not judge by a status from before it led",
    clusterView(clusterState(), { ...healthy, m1: { postgres: DEAD } }, { leadingSinceMs: NOW_MS - 5 }),
    "hold promotion-under-way",
  ],
  [
    "does not act on a short silence",
    clusterView(clusterState(), { ...healthy, m1: { ...healthy.m1, silentMs: 900 } }),
    "hold primary-silent",
  ],
  [
    "looks again at a silent primary that still streams",
    clusterView(clusterState(), { ...healthy, m1: { ...healthy.m1, silentMs: 5_000 } }),
    "hold primary-silent-but-streaming",
  ],
  [
    "ends the reign of a silent primary that nobody streams from",
    clusterView(clusterState(), {
      m1: { ...healthy.m1, silentMs: 1_001 },
      m2: { postgres: lost },
      m3: { postgres: lost },
    }),
    "fence 1 member-lost",
  ],
  [
    "is quicker when the connections broke and every standby lost its stream",
    clusterView(clusterState(), {
      m1: { ...healthy.m1, silentMs: 160, isConnected: false },
      m2: { postgres: lost },
      m3: { postgres: lost },
    }),
    "fence 1 member-gone",
  ],
  [
    "suspects itself when most members are silent",
    clusterView(clusterState(), {
      m1: { ...healthy.m1, silentMs: 5_000 },
      m2: { postgres: lost },
      m3: { postgres: lost, silentMs: 5_000 },
    }),
    "hold most-members-silent",
  ],
  [
    "counts silence from when it began to lead",
    clusterView(
      clusterState(),
      { m1: { ...healthy.m1, silentMs: 5_000 }, m2: { postgres: lost }, m3: { postgres: lost } },
      { leadingSinceMs: NOW_MS - 600 },
    ),
    "hold primary-silent",
  ],
  [
    "counts the former leader's silence from its last heartbeat",
    clusterView(
      clusterState(),
      { m1: { ...healthy.m1, silentMs: 5_000 }, m2: { postgres: lost }, m3: { postgres: lost } },
      { leadingSinceMs: NOW_MS - 10, formerLeaderId: id("m1") },
    ),
    "fence 1 member-lost",
  ],
  // Revocation and choice.
  [
    "waits for the second pledge (|S| - k + 1 of two, k = 1)",
    clusterView(FENCED, {
      m2: { postgres: pledgedStandby(), promises: PLEDGED },
      m3: { postgres: standby() },
    }),
    "hold waiting-for-pledges",
  ],
  [
    "does not count a pledge while the walreceiver is still there",
    clusterView(FENCED, {
      m2: { postgres: pledgedStandby(), promises: PLEDGED },
      m3: { postgres: standby(), promises: PLEDGED },
    }),
    "hold waiting-for-pledges",
  ],
  [
    "does not count a standby that is silent",
    clusterView(FENCED, {
      m2: { postgres: pledgedStandby(), promises: PLEDGED },
      m3: { postgres: pledgedStandby(), promises: PLEDGED, silentMs: 2_000 },
    }),
    "hold waiting-for-pledges",
  ],
  [
    "appoints the most advanced",
    clusterView(FENCED, {
      m2: { postgres: pledgedStandby(100), promises: PLEDGED },
      m3: { postgres: pledgedStandby(101), promises: PLEDGED },
    }),
    "appoint m3 epoch 2 any 1 of m2",
  ],
  [
    "ranks a later timeline above a higher LSN",
    clusterView(FENCED, {
      m2: { postgres: pledgedStandby(100, { timeline: timeline(1) }), promises: PLEDGED },
      m3: { postgres: pledgedStandby(90), promises: PLEDGED },
    }),
    "appoint m3 epoch 2 any 1 of m2",
  ],
  [
    "breaks a tie by the operator's priority",
    clusterView(
      clusterState({
        members: [
          member("m1"),
          member("m2"),
          member("m3", { tags: { failoverPriority: 5, isNoFailover: false } }),
        ],
        reign: reign({ fence: FENCE }),
      }),
      {
        m2: { postgres: pledgedStandby(), promises: PLEDGED },
        m3: { postgres: pledgedStandby(), promises: PLEDGED },
      },
    ),
    "appoint m3 epoch 2 any 1 of m2",
  ],
  [
    "never passes over WAL for the sake of a tag",
    clusterView(
      clusterState({
        members: [
          member("m1"),
          member("m2"),
          member("m3", { tags: { failoverPriority: 0, isNoFailover: true } }),
        ],
        reign: reign({ fence: FENCE }),
      }),
      {
        m2: { postgres: pledgedStandby(100), promises: PLEDGED },
        m3: { postgres: pledgedStandby(101), promises: PLEDGED },
      },
    ),
    "hold most-advanced-not-eligible",
  ],
  [
    "takes the stopped and pledged primary's own WAL as proof",
    clusterView(FENCED, {
      m1: { postgres: pledgedStandby(120), promises: PLEDGED },
      m2: { postgres: pledgedStandby(100), promises: PLEDGED },
    }),
    "appoint m1 epoch 2 any 1 of m2",
  ],
  [
    "does not take the primary's WAL as proof if it lacks what it was appointed for",
    clusterView(FENCED, {
      m1: { postgres: pledgedStandby(40, { timeline: timeline(1) }), promises: PLEDGED },
      m2: { postgres: pledgedStandby(100), promises: PLEDGED },
    }),
    "hold waiting-for-pledges",
  ],
  [
    "needs enough pledges under both rules while the cohort changes",
    clusterView(
      clusterState({
        reign: reign({ fence: FENCE, cohort: cohort(1, "m2"), pendingCohort: cohort(1, "m2", "m3") }),
      }),
      { m2: { postgres: pledgedStandby(), promises: PLEDGED } },
    ),
    "hold waiting-for-pledges",
  ],
  [
    "names absent members too when quorum loss blocks",
    clusterView(clusterState({ reign: reign({ fence: FENCE, cohort: cohort(1, "m2") }) }), {
      m2: { postgres: pledgedStandby(), promises: PLEDGED },
    }),
    "appoint m2 epoch 2 any 1 of m1,m3",
  ],
  [
    "asks for fewer when quorum loss degrades",
    clusterView(clusterState({ spec: degrade, reign: reign({ fence: FENCE, cohort: cohort(1, "m2") }) }), {
      m2: { postgres: pledgedStandby(), promises: PLEDGED },
    }),
    "appoint m2 epoch 2 any 0 of ",
  ],
  [
    "never ends a reign without synchronous standbys by the standbys' word",
    clusterView(clusterState({ reign: reign({ fence: FENCE, cohort: cohort(0) }) }), {
      m2: { postgres: pledgedStandby(), promises: PLEDGED },
      m3: { postgres: pledgedStandby(), promises: PLEDGED },
    }),
    "hold waiting-for-pledges",
  ],
  [
    "prefers the switchover's target among equals",
    clusterView(clusterState({ reign: reign({ fence: { ...FENCE, preferredId: id("m3") } }) }), {
      m2: { postgres: pledgedStandby(), promises: PLEDGED },
      m3: { postgres: pledgedStandby(), promises: PLEDGED },
    }),
    "appoint m3 epoch 2 any 1 of m2",
  ],
  // A reign in good health.
  [
    "records the promotion's timeline",
    clusterView(clusterState({ reign: reign({ lineage: null }) }), healthy),
    "record-lineage",
  ],
  [
    "grows the cohort by a standby that streams",
    clusterView(clusterState({ reign: reign({ cohort: cohort(1, "m2") }) }), healthy),
    "change-cohort any 1 of m2,m3",
  ],
  [
    "asks for more acknowledgements once there are enough standbys",
    clusterView(clusterState({ reign: reign({ cohort: cohort(0, "m2", "m3") }) }), healthy),
    "change-cohort any 1 of m2,m3",
  ],
  [
    "asks for fewer acknowledgements once somebody wants fewer, although enough are there",
    clusterView(clusterState({ reign: reign({ cohort: cohort(2, "m2", "m3") }) }), healthy),
    "change-cohort any 1 of m2,m3",
  ],
  [
    "releases a standby that shall be none of the synchronous ones, although it streams",
    clusterView(clusterState({ members: [member("m1"), NO_SYNC_M2, member("m3")] }), healthy),
    "change-cohort any 1 of m3",
  ],
  [
    "keeps it as long as commits would wait without it",
    clusterView(
      clusterState({
        members: [member("m1"), NO_SYNC_M2, member("m3")],
        reign: reign({ cohort: cohort(1, "m2") }),
      }),
      { ...healthy, m1: { postgres: primary(1, ["m2"]) } },
    ),
    "hold removal-would-block",
  ],
  [
    "does not ask again for what it has just given up: nobody is there to acknowledge",
    clusterView(clusterState({ spec: degrade, reign: reign({ cohort: cohort(0, "m2", "m3") }) }), {
      ...healthy,
      m1: { postgres: primary(0, []) },
    }),
    "hold steady",
  ],
  [
    "drops a lost standby while enough are left",
    clusterView(clusterState(), { ...healthy, m1: { postgres: primary(1, ["m2"]) }, m3: { postgres: DEAD } }),
    "change-cohort any 1 of m2",
  ],
  [
    "keeps a standby that is only reconnecting",
    clusterView(clusterState(), { ...healthy, m1: { postgres: primary(1, ["m2"]) } }),
    "hold steady",
  ],
  [
    "lets commits wait when too few are left",
    clusterView(clusterState({ reign: reign({ cohort: cohort(1, "m2") }) }), {
      ...healthy,
      m1: { postgres: primary(1, []) },
    }),
    "hold quorum-lost",
  ],
  [
    "settles a cohort that is in effect and holds everything",
    clusterView(
      clusterState({ reign: reign({ cohort: cohort(1, "m2"), pendingCohort: cohort(1, "m2", "m3") }) }),
      healthy,
    ),
    "settle-cohort any 1 of m2,m3",
  ],
  [
    "does not settle by what the primary showed before it knew of this cohort: it may have had the same rule once",
    clusterView(ANNOUNCED_AGAIN, { ...healthy, m1: { ...healthy.m1, more: { cohortKnown: SECOND_COHORT } } }),
    "hold cohort-settling",
  ],
  [
    "settles by what it shows since it knows of it",
    clusterView(ANNOUNCED_AGAIN, {
      ...healthy,
      m1: { ...healthy.m1, more: { cohortKnown: { ...SECOND_COHORT, number: 3 } } },
    }),
    "settle-cohort any 1 of m2,m3",
  ],
  [
    "does not settle what is not in effect",
    clusterView(
      clusterState({ reign: reign({ cohort: cohort(1, "m2"), pendingCohort: cohort(1, "m3") }) }),
      healthy,
    ),
    "hold cohort-settling",
  ],
  [
    "does not settle before the new cohort holds what the old one acknowledged",
    clusterView(
      clusterState({ reign: reign({ cohort: cohort(1, "m2"), pendingCohort: cohort(1, "m2", "m3") }) }),
      {
        ...healthy,
        m1: {
          postgres: primary(1, ["m2", "m3"], {
            synchronous: { names: 'ANY 1 ("m2","m3")', sinceLsn: lsn(200) },
          }),
        },
      },
    ),
    "hold cohort-settling",
  ],
  // Housekeeping.
  [
    "moves leadership off the primary's host",
    clusterView(clusterState(), healthy, { selfId: id("m1") }),
    "transfer to m2",
  ],
  [
    "calls an initialisation done once every member acknowledges under the rule of the spec",
    clusterView(clusterState({ operations: [initializing] }), healthy),
    "finish-operation",
  ],
  [
    "does not call it done while the first rule is not settled",
    clusterView(
      clusterState({
        operations: [initializing],
        reign: reign({ cohort: cohort(0, "m2", "m3"), pendingCohort: cohort(1, "m2", "m3") }),
      }),
      { ...healthy, m1: { postgres: primary(0, ["m2", "m3"]) } },
    ),
    "hold cohort-settling",
  ],
  // Switchover.
  [
    "waits for the old primary to stop cleanly",
    clusterView(
      clusterState({ switchover: { operationId: "op", epoch: epoch(1), targetId: id("m3") } }),
      healthy,
    ),
    "hold switchover-stopping",
  ],
  [
    "fences once it has stopped",
    clusterView(clusterState({ switchover: { operationId: "op", epoch: epoch(1), targetId: id("m3") } }), {
      ...healthy,
      m1: { postgres: { ...DEAD, isClean: true } },
    }),
    "fence 1 switchover",
  ],
  [
    "gives up while the primary still serves if the target is gone",
    clusterView(clusterState({ switchover: { operationId: "op", epoch: epoch(1), targetId: id("m3") } }), {
      ...healthy,
      m3: { ...healthy.m3, silentMs: 2_000 },
    }),
    "abort-switchover",
  ],
];

test.each([...table])("decideCluster() %s", (_name, view, expected) => {
  expect(say(decideCluster(view))).toBe(expected);
});

test("decideCluster() gives a reason for every member it passes over", () => {
  const decision = decideCluster(
    clusterView(FENCED, {
      m1: { postgres: DEAD },
      m2: { postgres: pledgedStandby(100), promises: promises(PLEDGED) },
      m3: { postgres: pledgedStandby(140), promises: promises(PLEDGED) },
    }),
  );
  if (decision.kind !== "propose" || decision.change.kind !== "appoint")
    throw new Error("expected an appointment");
  expect(decision.change.passedOver).toEqual([
    { memberId: id("m1"), reason: "no pledged standby (stopped)" },
    { memberId: id("m2"), reason: "behind by 40 bytes" },
  ]);
});
