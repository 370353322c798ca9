import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { err, ok } from "../../../src/base/result.ts";
import type { ServerLimits } from "../../../src/cluster/observation.ts";
import { STANDBY_LIMITS } from "../../../src/cluster/parameter-rules.ts";
import type { PlannedRestart, RestartStep } from "../../../src/cluster/restart.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import { IN_PLACE_MS_MAX } from "../../../src/decision/decide-restart.ts";
import {
  clusterState,
  clusterView,
  cohort,
  epoch,
  id,
  member,
  NOW_MS,
  primary,
  reign,
  type Seen,
  standby,
} from "../../support/situation.ts";

const NAMES = ["m1", "m2", "m3"] as const;
const OPERATION = {
  id: "op1",
  kind: "restart",
  memberId: id("m1"),
  by: "ann",
  startedAtMs: 0,
  finishedAtMs: null,
  status: "running",
  phase: "planned",
  log: [],
} as const;

function limits(running: number, wanted: number): ServerLimits {
  const others = STANDBY_LIMITS.map((name) => [name, { running: 10, wanted: 10 }]);
  return { ...Object.fromEntries(others), max_connections: { running, wanted } };
}

interface Server {
  /** `old`: the one that ran when it was asked for. */
  readonly instance?: "old" | "new" | null;
  readonly running?: number;
  readonly wanted?: number;
  readonly pending?: readonly string[];
  readonly seen?: Partial<Seen>;
}

function seenOf(
  name: string,
  { instance = "old", running = 100, wanted = 100, pending, seen = {} }: Server,
): Seen {
  const waiting = pending ?? (running === wanted ? [] : ["max_connections"]);
  return {
    postgres: name === "m1" ? primary(1, ["m2", "m3"]) : standby(),
    ...seen,
    more: {
      ...(instance === null ? {} : { instance: `${instance}-${name}`, limits: limits(running, wanted) }),
      ...(waiting.length === 0 ? {} : { pendingRestart: waiting }),
      ...seen.more,
    },
  };
}

interface Situation {
  readonly servers?: Readonly<Record<string, Server>>;
  readonly restart?: Partial<PlannedRestart>;
  readonly state?: Partial<ClusterState>;
  readonly view?: Partial<ClusterView>;
}

function restartOf(over: Partial<PlannedRestart> = {}): PlannedRestart {
  return {
    operationId: "op1",
    strategy: "auto",
    isPendingOnly: false,
    mayStall: false,
    timeoutMs: 60_000,
    targets: NAMES.map((name) => ({ memberId: id(name), instance: `old-${name}`, restarts: 0 })),
    step: null,
    ...over,
  };
}

function viewOf({ servers = {}, restart = {}, state = {}, view = {} }: Situation): ClusterView {
  const agreed = clusterState({
    featureLevel: 4,
    restart: restartOf(restart),
    operations: [OPERATION],
    ...state,
  });
  const seen = Object.fromEntries(NAMES.map((name) => [name, seenOf(name, servers[name] ?? {})]));
  return clusterView(agreed, seen, view);
}

/** `m2 standby`, `switchover m2`, `back m2`, `succeeded: …`, `failed: …`, or the reason of a hold. */
function say(situation: Situation): string {
  const decision = decideCluster(viewOf(situation));
  if (decision.kind === "ask-hand-over") return "ask";
  if (decision.kind !== "propose") return decision.reason;
  const { change } = decision;
  const name = (memberId: string) => `m${Number(memberId.slice(-12))}`;
  switch (change.kind) {
    case "begin-restart-step":
      return `${name(change.memberId)} ${change.method}`;
    case "end-restart-step":
      return `back ${name(change.memberId)}: ${change.message}`;
    case "begin-switchover":
      return `switchover ${name(change.targetId)}`;
    case "finish-operation":
      return `${change.status}: ${change.message}`;
    case "progress-operation":
      return `${change.phase}: ${change.message}`;
    default:
      return change.kind;
  }
}

const NEW: Server = { instance: "new" };

function step(name: string, method: RestartStep["method"] = "standby"): RestartStep {
  return { memberId: id(name), instance: `old-${name}`, method, epoch: epoch(1) };
}

describe("a planned restart", () => {
  test("takes the standbys one after another, then the primary by a switchover", () => {
    expect(say({})).toBe("m2 standby");
    expect(say({ servers: { m2: NEW } })).toBe("m3 standby");
    expect(say({ servers: { m2: NEW, m3: NEW } })).toMatch(/^switchover m[23]$/);
    expect(say({ servers: { m1: NEW, m2: NEW, m3: NEW } })).toStartWith("succeeded: every member");
  });

  test("takes the best successor last", () => {
    const members = [
      member("m1"),
      member("m2", { tags: { ...member("m2").tags, failoverPriority: 9 } }),
      member("m3"),
    ];
    expect(say({ state: { members } })).toBe("m3 standby");
  });

  test("concerns those only that were named, and with pending-only those only where something waits", () => {
    const targets = [{ memberId: id("m3"), instance: "old-m3", restarts: 0 }];
    expect(say({ restart: { targets } })).toBe("m3 standby");
    expect(say({ restart: { targets }, servers: { m3: NEW } })).toStartWith("succeeded");
    expect(say({ restart: { isPendingOnly: true } })).toStartWith("succeeded");
    const waits: Server = { pending: ["shared_buffers"] };
    expect(say({ restart: { isPendingOnly: true }, servers: { m3: waits } })).toBe("m3 standby");
  });

  test("where a limit grows: standbys first, and the primary only once none has less than it would have", () => {
    const grows: Server = { running: 100, wanted: 200 };
    const done: Server = { instance: "new", running: 200, wanted: 200 };
    expect(say({ servers: { m1: grows, m2: grows, m3: grows } })).toBe("m2 standby");
    expect(say({ servers: { m1: grows, m2: done, m3: grows } })).toBe("m3 standby");
    expect(say({ servers: { m1: grows, m2: done, m3: done } })).toMatch(/^switchover/);
    const targets = [{ memberId: id("m1"), instance: "old-m1", restarts: 0 }];
    expect(say({ restart: { targets }, servers: { m1: grows, m2: done, m3: grows } })).toContain(
      "failed: m3 runs with max_connections = 100, and m1 would come up with 200",
    );
  });

  test("where one shrinks: the primary first, in place, and then the standbys", () => {
    const shrinks: Server = { running: 200, wanted: 100 };
    expect(say({ servers: { m1: shrinks, m2: shrinks, m3: shrinks } })).toBe("m1 in-place");
    expect(say({ servers: { m1: NEW, m2: shrinks, m3: shrinks } })).toBe("m2 standby");
    // Without the primary it is raised again at each start: it is done once, and no second time.
    const targets = [{ memberId: id("m2"), instance: "old-m2", restarts: 1 }];
    const again: Server = { ...shrinks, instance: "new" };
    expect(say({ restart: { targets }, servers: { m1: { running: 200 }, m2: again } })).toContain(
      "still waiting for a start: m2 (max_connections)",
    );
  });

  test("where one grows and another shrinks: standbys, the primary in place, and standbys once more", () => {
    const mixed = (instance: "old" | "new", senders: number, connections: number): Server => ({
      instance,
      pending: ["max_connections", "max_wal_senders"],
      seen: {
        more: {
          limits: {
            ...limits(connections, 200),
            max_wal_senders: { running: senders, wanted: 5 },
          },
        },
      },
    });
    const old = mixed("old", 10, 100);
    const raised = { ...mixed("new", 10, 200), pending: ["max_wal_senders"] };
    const restarts = (count: number) =>
      NAMES.map((name) => ({ memberId: id(name), instance: `old-${name}`, restarts: count }));
    expect(say({ servers: { m1: old, m2: old, m3: old } })).toBe("m2 standby");
    expect(say({ servers: { m1: old, m2: raised, m3: raised }, restart: { targets: restarts(1) } })).toBe(
      "m1 in-place",
    );
    const done = { ...mixed("new", 5, 200), pending: [] };
    expect(say({ servers: { m1: done, m2: raised, m3: raised }, restart: { targets: restarts(1) } })).toBe(
      "m2 standby",
    );
  });

  test("does as it is told with the primary, and gives up where nobody can take over", () => {
    const servers = { m2: NEW, m3: NEW };
    expect(say({ servers, restart: { strategy: "in-place" } })).toBe("m1 in-place");
    const members = NAMES.map((name) => member(name, { tags: { ...member(name).tags, isNoFailover: true } }));
    expect(say({ servers, state: { members } })).toBe("m1 in-place");
    expect(say({ servers, state: { members }, restart: { strategy: "switchover" } })).toContain(
      "failed: nobody can take over: m2 has the tag no-failover",
    );
  });

  test("ends where its switchover came to nothing", () => {
    const failed = {
      ...OPERATION,
      id: "op1-switchover-1",
      kind: "switchover",
      status: "failed",
      log: [{ atMs: 0, message: "m2 is away" }],
    } as const;
    expect(say({ servers: { m2: NEW, m3: NEW }, state: { operations: [OPERATION, failed] } })).toBe(
      "failed: the switchover did not succeed: m2 is away",
    );
  });

  test("asks the host's owner before it hands over, and takes no for an answer", () => {
    const guarded: Server = { seen: { more: { hooks: { guardsSwitchover: true, last: null } } } };
    const servers = { m1: guarded, m2: NEW, m3: NEW };
    expect(say({ servers })).toBe("ask");
    const question = { scheduleId: "op1-switchover-1", primaryId: id("m1"), targetId: id("m2") };
    const answered = (answer: NonNullable<ClusterView["handOver"]>["answer"]) =>
      say({ servers, view: { handOver: { question, answer } } });
    expect(answered(null)).toBe("switchover-asking");
    expect(answered(ok(null))).toBe("switchover m2");
    expect(answered(err("the batch run is not over"))).toBe(
      "failed: the hook before-switchover of m1 refuses: the batch run is not over",
    );
  });

  test("takes no standby out that a commit needs, unless somebody allows it", () => {
    const two = { reign: reign({ cohort: cohort(2, "m2", "m3") }) };
    const spec = clusterState().spec;
    const durability = { mode: "quorum", synchronousStandbys: 2, onQuorumLoss: "block" } as const;
    const state = { ...two, spec: { ...spec, durability } };
    const servers = { m1: { seen: { postgres: primary(2, ["m2", "m3"]) } } };
    expect(say({ state, servers })).toContain("failed: without m2 only 1 of the 2 standbys are left");
    expect(say({ state, servers, restart: { mayStall: true } })).toBe("m2 standby");
  });

  test("waits while the cluster is not well, and says so once", () => {
    const lagging: Server = { seen: { postgres: standby({ walReceiver: null }) } };
    expect(say({ servers: { m3: lagging } })).toBe(
      "waiting: it waits until the cluster is well: m3 does not stream",
    );
    const operations = [{ ...OPERATION, phase: "waiting" }];
    expect(say({ servers: { m3: lagging }, state: { operations } })).toBe("restart-waiting");
    expect(say({ servers: { m3: { instance: null } }, state: { operations } })).toBe("restart-waiting");
    expect(say({ state: { reign: reign({ pendingCohort: cohort(1, "m2") }) } })).not.toContain("standby");
  });

  test("is held, and ended, by people", () => {
    expect(say({ restart: { isPaused: true } })).toBe("steady");
    expect(say({ restart: { cancelledBy: "bob" } })).toBe("failed: it was ended by bob");
    const back = say({ restart: { isPaused: true, step: step("m2") }, servers: { m2: NEW } });
    expect(back).toBe("back m2: m2 is back");
  });
});

describe("a step of it", () => {
  const during = (
    name: string,
    server: Server,
    view: Partial<ClusterView> = {},
    method?: RestartStep["method"],
  ) => say({ restart: { step: step(name, method) }, servers: { [name]: server }, view });
  const seen = (sinceMs: number, downSinceMs: number | null) => ({
    restartSeen: {
      step: "s",
      sinceMs: NOW_MS - sinceMs,
      downSinceMs: downSinceMs === null ? null : NOW_MS - downSinceMs,
    },
  });

  test("is over when another server runs that streams, has caught up, is in the cohort and was asked for its limits", () => {
    expect(during("m2", {})).toBe("restart-under-way");
    expect(during("m2", NEW)).toBe("back m2: m2 is back");
    expect(during("m2", { ...NEW, seen: { postgres: standby({ walReceiver: null }) } })).toBe(
      "restart-under-way",
    );
    const unasked = { instance: null, seen: { more: { instance: "new-m2" } } };
    expect(during("m2", unasked)).toBe("restart-under-way");
    expect(
      say({
        restart: { step: step("m2") },
        servers: {
          m1: { seen: { postgres: primary(1, ["m3"]) } },
          m2: { ...NEW, seen: { postgres: standby() } },
        },
        state: { reign: reign({ cohort: cohort(1, "m3") }) },
      }),
    ).toBe("restart-under-way");
  });

  test("fails as a whole when the member does not come back in time, with what it said", () => {
    const down: Server = {
      instance: null,
      seen: { postgres: { kind: "starting", detail: "" }, more: { detail: "start: no" } },
    };
    expect(during("m2", down, seen(59_000, 1))).toBe("restart-under-way");
    expect(during("m2", down, seen(60_000, 1))).toStartWith(
      "failed: m2 does not come back: after 60 s it is not up again (start: no)",
    );
  });

  test("of the primary in place is awaited while its supervisor is at it, and not for ever", () => {
    const work = { kind: "start", phase: "restarting in place", doneBytes: null, totalBytes: null } as const;
    const stopped = {
      kind: "stopped",
      systemIdentifier: "7000000000000000001",
      timeline: 2,
      checkpointLsn: 0,
      isClean: true,
    } as unknown as Seen["postgres"];
    const down = (more: object): Server => ({ instance: null, seen: { postgres: stopped, more } });
    expect(during("m1", down({ work }), seen(1_000, 500), "in-place")).toBe("primary-started-again");
    expect(during("m1", down({ work }), seen(90_000, IN_PLACE_MS_MAX), "in-place")).toStartWith(
      "failed: m1 does not come back in place",
    );
    expect(during("m1", down({ work: null }), seen(1_000, 500), "in-place")).toStartWith(
      "failed: m1 does not",
    );
    // Then the ordinary rules decide.
    expect(say({ restart: { step: null, isPaused: true }, servers: { m1: down({}) } })).toBe("fence");
  });

  test("keeps the cohort as it is while the standbys of a primary that is up again come back", () => {
    const up: Server = { ...NEW, seen: { postgres: primary(1, ["m2", "m3"], { standbys: [] }) } };
    const degrade = { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "degrade" } as const;
    const state = { spec: { ...clusterState().spec, durability: degrade } };
    const restart = { step: step("m1", "in-place") };
    expect(say({ restart, state, servers: { m1: up }, view: seen(1_000, 500) })).toBe(
      "primary-started-again",
    );
    expect(say({ restart, state, servers: { m1: up }, view: seen(60_000, IN_PLACE_MS_MAX) })).toBe(
      "change-cohort",
    );
  });

  test("that a supervisor refuses ends at once, and the primary goes on", () => {
    const refused: Server = {
      seen: { more: { reason: "restarting", detail: "restart-in-place: upgrade it" } },
    };
    expect(during("m1", refused, seen(5_000, null), "in-place")).toStartWith(
      "failed: m1 does not come back: restart-in-place: upgrade it",
    );
  });

  test("is over where the primary changed meanwhile", () => {
    const state = { reign: reign({ epoch: epoch(2) }) };
    const servers = Object.fromEntries(
      NAMES.map((name) => [name, { ...NEW, seen: { promises: { walEpoch: epoch(2) } } }]),
    );
    expect(say({ restart: { step: step("m1", "in-place") }, state, servers })).toContain(
      "the primary changed",
    );
  });
});

test("whatever is seen, nobody is taken out while another standby is away, or the primary serves nobody", () => {
  const server = fc.record({
    instance: fc.constantFrom("old", "new", null),
    running: fc.constantFrom(100, 200),
    wanted: fc.constantFrom(100, 200),
    isStreaming: fc.boolean(),
    isHeard: fc.boolean(),
  });
  const strategy = fc.constantFrom("auto", "in-place", "switchover");
  fc.assert(
    fc.property(
      fc.record({ m1: server, m2: server, m3: server }),
      strategy,
      fc.boolean(),
      (all, how, mayStall) => {
        const streaming = (["m2", "m3"] as const).filter((name) => all[name].isStreaming);
        const servers = Object.fromEntries(
          NAMES.map((name) => {
            const { instance, running, wanted, isStreaming, isHeard } = all[name];
            const postgres =
              name === "m1"
                ? primary(1, ["m2", "m3"], {
                    standbys: primary(1, streaming).standbys,
                  })
                : standby(isStreaming ? {} : { walReceiver: null });
            return [
              name,
              { instance, running, wanted, seen: { postgres, silentMs: isHeard ? 10 : 2_000 } } as Server,
            ];
          }),
        );
        // Whoever leads hears itself: it is none of the three.
        const said = say({ servers, restart: { strategy: how, mayStall }, view: { selfId: id("m9") } });
        const takesOut = /^m\d (standby|in-place)$|^switchover/.test(said);
        const isWhole =
          streaming.length === 2 && NAMES.every((name) => all[name].isHeard && all[name].instance !== null);
        if (takesOut) expect(isWhole).toBe(true);
        // No primary comes up with more than a standby has.
        if (/in-place|switchover/.test(said)) {
          const { wanted } = all.m1;
          const next = said.startsWith("switchover") ? all[said.slice(-2) as "m2"].running : wanted;
          if (said.endsWith("in-place"))
            for (const name of ["m2", "m3"] as const) expect(all[name].running).toBeGreaterThanOrEqual(next);
        }
      },
    ),
    { numRuns: 2_000 },
  );
});
