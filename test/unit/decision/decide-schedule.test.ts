import { describe, expect, test } from "bun:test";
import { err, ok } from "../../../src/base/result.ts";
import type { Member } from "../../../src/cluster/member.ts";
import type { ClusterState, ScheduledSwitchover } from "../../../src/cluster/state.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import { LATE_MS_MAX, PATIENCE_MS } from "../../../src/decision/decide-schedule.ts";
import {
  clusterState,
  clusterView,
  cohort,
  id,
  lsn,
  member,
  NOW_MS,
  primary,
  reign,
  type Seen,
  standby,
} from "../../support/situation.ts";

const TAGS = { failoverPriority: 0, isNoFailover: false };
const HEALTHY: Readonly<Record<string, Seen>> = {
  m1: { postgres: primary(1, ["m2", "m3"]) },
  m2: { postgres: standby() },
  m3: { postgres: standby() },
};

function scheduled(over: Partial<ScheduledSwitchover> = {}): ScheduledSwitchover {
  return { id: "s1", primaryId: id("m1"), targetId: id("m3"), dueAtMs: NOW_MS, by: "ann", atMs: 0, ...over };
}

interface Situation {
  readonly lateMs?: number;
  readonly to?: string | null;
  readonly seen?: Readonly<Record<string, Seen>>;
  readonly state?: Partial<ClusterState>;
  readonly view?: Partial<ClusterView>;
}

/** `begin m3`, `give up: why`, `ask m3`, or the reason of a hold. */
function say({ lateMs = 0, to = "m3", seen = HEALTHY, state = {}, view = {} }: Situation = {}): string {
  const targetId = to === null ? null : id(to);
  const scheduledSwitchover = scheduled({ targetId, dueAtMs: NOW_MS - lateMs });
  const agreed = clusterState({ featureLevel: 4, scheduledSwitchover, ...state });
  const decision = decideCluster(clusterView(agreed, { ...HEALTHY, ...seen }, view));
  const name = (memberId: string) => `m${Number(memberId.slice(-12))}`;
  if (decision.kind === "ask-hand-over") return `ask ${name(decision.question.targetId)}`;
  if (decision.kind !== "propose") return decision.reason;
  const { change } = decision;
  if (change.kind === "begin-switchover") return `begin ${name(change.targetId)} ${change.scheduleId}`;
  return change.kind === "cancel-switchover" ? `give up: ${change.reason}` : change.kind;
}

describe("a scheduled switchover", () => {
  test("waits for the leader's wall clock, and is begun once it says so", () => {
    expect(say({ lateMs: -1 })).toBe("steady");
    expect(say()).toBe("begin m3 s1");
    expect(say({ lateMs: 30_000 })).toBe("begin m3 s1");
  });

  test("goes to the best where nobody is named: by priority, then by what it has", () => {
    expect(say({ to: null, seen: { m2: { postgres: standby({ receivedLsn: lsn(99) }) } } })).toBe(
      "begin m3 s1",
    );
    const members: Member[] = [
      member("m1"),
      member("m2", { tags: { ...TAGS, failoverPriority: 5 } }),
      member("m3"),
    ];
    expect(say({ to: null, state: { members } })).toBe("begin m2 s1");
  });

  test("begins under a lease too, where nobody acknowledges", () => {
    const leased = { ...cohort(0), isLeased: true };
    const seen = {
      m1: { postgres: primary(0, ["m2", "m3"], { synchronous: { names: "", sinceLsn: lsn(90) } }) },
    };
    const view = { leaseUntilMs: NOW_MS + 1_000 };
    const state = {
      reign: reign({ cohort: leased }),
      spec: { ...clusterState().spec, durability: { mode: "async", maxLagBytes: 1_000 } as const },
    };
    expect(say({ seen, state, view })).toBe("begin m3 s1");
  });
});

describe("it is given up at once", () => {
  test("when nobody could do it in time", () => {
    expect(say({ lateMs: LATE_MS_MAX + 1 })).toBe("give up: it is 300 s late: nobody could do it in time");
  });

  test("when another member is primary by then", () => {
    const moved = { reign: reign({ primaryId: id("m2"), cohort: cohort(1, "m1", "m3") }) };
    const seen = {
      m1: { postgres: standby({ walReceiver: { upstream: "m2:5432", status: "streaming" } }) },
      m2: { postgres: primary(1, ["m1", "m3"]) },
    };
    expect(say({ state: moved, seen })).toBe("give up: m2 is primary by now, and not m1");
  });

  test("during a pause", () => {
    const pauses = [{ reason: "storage", by: "ann", atMs: 0 }];
    expect(say({ state: { pauses } })).toBe("give up: automatic failover is paused (storage)");
  });

  test.each([
    ["m3 has the tag no-failover", member("m3", { tags: { ...TAGS, isNoFailover: true } })],
    ["m3 has no PostgreSQL", member("m3", { kind: "witness" })],
  ])("when what is agreed forbids it: %s", (why, m3) => {
    const members = [member("m1"), member("m2"), m3];
    // Under a rule that does not name it, nothing about it has to be changed first.
    const state = { members, reign: reign({ cohort: cohort(1, "m2") }) };
    const seen = { m1: { postgres: primary(1, ["m2"]) }, m3: { postgres: { kind: "witness" } as const } };
    expect(say({ state, seen })).toBe(`give up: ${why}`);
  });
});

describe("what may pass by itself is given a moment, and no more", () => {
  const lost = { m3: { postgres: standby({ walReceiver: null }) } };
  const long = { lateMs: PATIENCE_MS };

  test("a target that does not stream", () => {
    expect(say({ seen: lost })).toBe("switchover-due");
    expect(say({ seen: lost, ...long })).toBe("give up: m3 does not stream");
  });

  test("also by a leader that leads since a moment ago, and has hardly heard anybody", () => {
    const view = { leadingSinceMs: NOW_MS - 100 };
    expect(say({ seen: lost, view, ...long })).toBe("switchover-due");
    expect(say({ seen: lost, view, lateMs: LATE_MS_MAX + 1 })).toStartWith("give up: it is 300 s late");
  });

  test("a cluster that waits for something else", () => {
    const seen = { m1: { postgres: primary(1, ["m2", "m3"]), silentMs: 30_000 } };
    expect(say({ seen })).toBe("primary-silent-but-streaming");
    expect(say({ seen, ...long })).toStartWith("give up: The primary's member is silent, but a standby");
  });
});

describe("the owner of the primary's host has a say", () => {
  const seen = {
    m1: {
      postgres: primary(1, ["m2", "m3"]),
      more: { hooks: { guardsSwitchover: true, last: null } },
    },
  };
  const question = { scheduleId: "s1", primaryId: id("m1"), targetId: id("m3") };
  const answered = (answer: NonNullable<ClusterView["handOver"]>["answer"]) =>
    say({ seen, view: { handOver: { question, answer } } });

  test("it is asked first, and nothing is begun before it has answered", () => {
    expect(say({ seen })).toBe("ask m3");
    expect(answered(null)).toBe("switchover-asking");
    expect(answered(ok(null))).toBe("begin m3 s1");
    expect(answered(err("a batch runs"))).toBe(
      "give up: the hook before-switchover of m1 refuses: a batch runs",
    );
  });

  test("an answer to another question is none", () => {
    const other = { question: { ...question, scheduleId: "s0" }, answer: ok(null) };
    expect(say({ seen, view: { handOver: other } })).toBe("ask m3");
  });

  test("where nobody is named, the one that was asked about stays the one", () => {
    const view = { handOver: { question: { ...question, targetId: id("m2") }, answer: ok(null) } };
    const behind = { m2: { postgres: standby({ receivedLsn: lsn(99) }) } };
    expect(say({ to: null, seen: { ...seen, ...behind }, view })).toBe("begin m2 s1");
  });
});
