import { describe, expect, test } from "bun:test";
import type { ManagedSettings } from "../../../src/cluster/managed-settings.ts";
import type { PostgresStatus } from "../../../src/cluster/observation.ts";
import { type ClusterSpec, DEFAULT_FAILOVER, DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { decideMember } from "../../../src/decision/decide-member.ts";
import type { MemberView } from "../../../src/decision/member-view.ts";
import type { Plan } from "../../../src/decision/plan.ts";
import {
  clusterState,
  cohort,
  epoch,
  id,
  lsn,
  member,
  observation,
  pledgedStandby,
  primary,
  promises,
  reign,
  SYSTEM,
  standby,
  timeline,
} from "../../support/situation.ts";

const hashSettings = (settings: ManagedSettings) => JSON.stringify(settings);
const LOCAL = { listenAddresses: "127.0.0.1", port: 5432, socketDirectory: "/tmp" };
const REFUSES_STALE_READS: ClusterSpec = {
  ...DEFAULT_SPEC,
  durability: { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block", staleReads: "refuse" },
};
const FENCE = { reason: "postmaster-died", preferredId: null, fencedAtWallMs: 0 };
const PLEDGED = { pledgedEpoch: epoch(1) };
const STOPPED = {
  kind: "stopped",
  systemIdentifier: SYSTEM,
  timeline: timeline(2),
  checkpointLsn: lsn(60),
  isClean: true,
} as const;

function settings(upstream: string | null, rule: readonly [number, ...string[]] | null, name = "m2"): string {
  const [k, ...names] = rule ?? [0];
  return hashSettings({
    memberName: name,
    clusterId: clusterState().clusterId,
    ...LOCAL,
    upstream: upstream === null ? null : { host: upstream, port: 5432 },
    synchronousStandbyNames: rule === null ? null : { k, names },
  });
}
const FOLLOWS_M1 = settings("m1", [1, "m1", "m3"]);

/** How m2 sees its machine. */
function view(
  postgres: PostgresStatus,
  state: ClusterState = clusterState(),
  extra: Partial<MemberView> = {},
): MemberView {
  return {
    state,
    selfId: id("m2"),
    postgres,
    promises: promises(),
    needsClone: null,
    hasStandbySignal: true,
    lease: null,
    unansweredMs: null,
    startingMs: null,
    isDiskFull: false,
    hasAside: false,
    reignKnownMs: 10_000,
    fenceKnownMs: state.reign?.fence ? 10_000 : null,
    failedStarts: 0,
    settingsHash: FOLLOWS_M1,
    hashSettings,
    local: LOCAL,
    observations: new Map(),
    primary: observation("m1", { postgres: primary(1, ["m2", "m3"]) }),
    ...extra,
  };
}

/** A plan in a line: `streaming`, or `pledging: pledge 1`. */
function say(plan: Plan): string {
  const actions = plan.actions.map((action) => {
    switch (action.kind) {
      case "pledge":
      case "promote":
        return `${action.kind} ${action.epoch}`;
      case "stop":
        return `stop ${action.mode}`;
      case "configure":
        return `configure ${action.settings.upstream?.host ?? "none"}/${action.settings.synchronousStandbyNames?.names.join(",") ?? "none"}`;
      case "rewind":
        return `rewind ${action.source.host} ${action.forkTimeline}:${action.forkLsn}`;
      case "clone":
        return `clone ${action.source.host}${action.replace === null ? "" : " replacing"}`;
      default:
        return action.kind;
    }
  });
  return actions.length === 0 ? plan.reason : `${plan.reason}: ${actions.join(", ")}`;
}

const fenced = clusterState({ reign: reign({ fence: FENCE }) });
const fencedToComeBack = clusterState({
  reign: reign({ fence: { ...FENCE, reason: "postmaster-died" } }),
  spec: { ...DEFAULT_SPEC, failover: { ...DEFAULT_FAILOVER, onCrash: "restart" } },
});
const m2Reigns = clusterState({
  reign: reign({
    epoch: epoch(2),
    primaryId: id("m2"),
    cohort: cohort(1, "m3"),
    lineage: null,
    appointedAt: { timeline: timeline(2), lsn: lsn(100) },
  }),
});
const m3Reigns = clusterState({
  reign: reign({
    epoch: epoch(2),
    primaryId: id("m3"),
    cohort: cohort(1, "m2"),
    appointedAt: { timeline: timeline(2), lsn: lsn(100) },
    timelines: [
      { timeline: timeline(1), epoch: epoch(0) },
      { timeline: timeline(2), epoch: epoch(1) },
    ],
    lineage: {
      timeline: timeline(3),
      ancestors: [
        { timeline: timeline(1), endLsn: lsn(50) },
        { timeline: timeline(2), endLsn: lsn(100) },
      ],
    },
  }),
});
const m3IsPrimary = observation("m3", {
  postgres: primary(1, ["m2"], { timeline: timeline(3), checkpointTimeline: timeline(3) }),
  promises: { walEpoch: epoch(2) },
});
const after = { promises: promises({ newestEpoch: epoch(2), pledgedEpoch: epoch(1) }), primary: m3IsPrimary };

const table: readonly (readonly [string, MemberView, string])[] = [
  [
    "leaves PostgreSQL untouched until somebody says what to build",
    view({ kind: "absent" }, clusterState({ initialization: null, reign: null })),
    "not-initialized",
  ],
  ["leaves what is not ours alone", view({ kind: "foreign", detail: "" }), "data-directory-foreign"],
  [
    "leaves another cluster's data alone",
    view({ ...STOPPED, systemIdentifier: "1" }),
    "data-directory-foreign",
  ],
  ["does nothing without its supervisor", view({ kind: "unknown", detail: "" }), "supervisor-unreachable"],
  [
    "runs initdb where it was told to",
    view({ kind: "absent" }, clusterState({ reign: null, systemIdentifier: null }), { selfId: id("m1") }),
    "initdb: initdb",
  ],
  [
    "never runs initdb once there is a history (F7)",
    view({ kind: "absent" }, clusterState({ reign: null }), { selfId: id("m1") }),
    "data-directory-missing",
  ],
  [
    "does not run initdb elsewhere",
    view(
      { kind: "absent" },
      clusterState({
        reign: null,
        systemIdentifier: null,
        members: [member("m1"), member("m2", { data: "none" })],
      }),
    ),
    "waiting-for-initialization",
  ],
  [
    "clones where there never was data",
    view(
      { kind: "absent" },
      clusterState({ members: [member("m1"), member("m2", { data: "none" }), member("m3")] }),
    ),
    "cloning: clone m1",
  ],
  ["does not make new data where data was before (F7)", view({ kind: "absent" }), "data-directory-missing"],
  [
    "builds anew over old data only when an operation says so",
    view(
      standby(),
      clusterState({ members: [member("m1"), member("m2", { data: "replace" }), member("m3")] }),
    ),
    "recloning: stop fast, clone m1 replacing",
  ],
  [
    "builds anew only once",
    view(
      standby(),
      clusterState({ members: [member("m1"), member("m2", { data: "replace" }), member("m3")] }),
      { hasAside: true },
    ),
    "streaming",
  ],
  [
    "starts receiving nothing at first, as a standby",
    view(STOPPED, clusterState(), { promises: promises({ walEpoch: epoch(0) }) }),
    "starting: configure none/m1,m3, start",
  ],
  [
    "starts receiving where it followed this reign already",
    view(STOPPED),
    "starting: configure m1/m1,m3, start",
  ],
  [
    "lets a successor go first after a fall",
    view(STOPPED, clusterState(), { selfId: id("m1") }),
    "waiting-for-primary",
  ],
  [
    "comes back at once where the reign waits for it",
    view(STOPPED, fencedToComeBack, {
      selfId: id("m1"),
      promises: promises(PLEDGED),
      fenceKnownMs: 0,
    }),
    "starting: configure none/m2,m3, start",
  ],
  [
    "lets the successor's promotion go first",
    view(STOPPED, fenced, { selfId: id("m1"), promises: promises(PLEDGED), fenceKnownMs: 100 }),
    "waiting-for-primary",
  ],
  [
    "does not promote itself again within an epoch",
    view(pledgedStandby(), clusterState(), { selfId: id("m1") }),
    "waiting-for-primary",
  ],
  ["streams", view(standby()), "streaming"],
  ["waits for PostgreSQL to connect", view(standby({ walReceiver: null })), "connecting"],
  [
    "follows the primary of a new address",
    view(standby(), clusterState(), { settingsHash: "other" }),
    "configuring: configure m1/m1,m3, reload",
  ],
  // The end of a reign.
  ["pledges when the reign is being ended", view(standby(), fenced), "pledging: pledge 1"],
  ["waits for its walreceiver to end", view(standby(), fenced, { promises: promises(PLEDGED) }), "pledging"],
  [
    "then waits for the appointment",
    view(pledgedStandby(), fenced, { promises: promises(PLEDGED) }),
    "pledged",
  ],
  [
    "stops a fenced primary at once, then pledges",
    view(primary(1, []), fenced, { selfId: id("m1") }),
    "pledging: stop immediate, pledge 1",
  ],
  [
    "stops a primary that was superseded, at once (F2)",
    view(primary(1, []), m3Reigns, {
      selfId: id("m1"),
      promises: promises({ pledgedEpoch: epoch(1), newestEpoch: epoch(1) }),
    }),
    "superseded: stop immediate",
  ],
  [
    "stops a primary that nobody appointed",
    view(primary(1, []), clusterState(), { selfId: id("m3") }),
    "superseded: stop immediate",
  ],
  [
    "restarts a fenced primary as a standby that receives nothing",
    view(STOPPED, fenced, { selfId: id("m1"), promises: promises(PLEDGED) }),
    "starting: configure none/m2,m3, start",
  ],
  // The appointment.
  [
    "sets the rule for commits, then promotes",
    view(pledgedStandby(), m2Reigns, { ...after, settingsHash: settings(null, [1, "m1", "m3"]) }),
    "promoting: configure none/m3, reload, promote 2",
  ],
  [
    "makes sure of the rule where there was none before",
    view(pledgedStandby(), m2Reigns, { ...after, settingsHash: settings(null, null) }),
    "promoting: configure none/m3, reload, checkpoint, promote 2",
  ],
  [
    "sends the promotion again if it was lost",
    view(pledgedStandby(), m2Reigns, {
      promises: promises({ newestEpoch: epoch(2), walEpoch: epoch(2), pledgedEpoch: epoch(1) }),
      settingsHash: settings(null, [1, "m3"]),
    }),
    "promoting: promote 2",
  ],
  // Rejoining.
  [
    "follows a new primary as it is when it is only behind",
    view(pledgedStandby(100), m3Reigns, after),
    "configuring: configure m3/m1,m3, reload",
  ],
  [
    "follows through the promotion when it is no further than the appointed member was",
    view(pledgedStandby(100), { ...m3Reigns, reign: reign({ ...m3Reigns.reign, lineage: null }) }, after),
    "configuring: configure m3/m1,m3, reload",
  ],
  [
    "waits for the new timeline when it is further",
    view(pledgedStandby(101), { ...m3Reigns, reign: reign({ ...m3Reigns.reign, lineage: null }) }, after),
    "waiting-for-lineage",
  ],
  [
    "rewinds what it wrote beyond the fork",
    view(pledgedStandby(101), m3Reigns, after),
    "rewinding: stop fast, rewind m3 2:100, configure m3/m1,m3, start",
  ],
  [
    "is cut off from the reign before first, where it never pledged: what comes after the look would be taken for this reign's",
    view(standby(), m3Reigns, { ...after, promises: promises() }),
    "configuring: configure none/m1,m3, reload",
  ],
  [
    "is cut off before it is rewound, too",
    view(standby({ receivedLsn: lsn(101), replayedLsn: lsn(101) }), m3Reigns, {
      ...after,
      promises: promises(),
    }),
    "configuring: configure none/m1,m3, reload",
  ],
  [
    "waits until nothing comes any more",
    view(standby(), m3Reigns, {
      ...after,
      promises: promises(),
      settingsHash: settings(null, [1, "m1", "m3"]),
    }),
    "configuring",
  ],
  [
    "follows then",
    view(pledgedStandby(100), m3Reigns, {
      ...after,
      promises: promises(),
      settingsHash: settings(null, [1, "m1", "m3"]),
    }),
    "configuring: configure m3/m1,m3, reload",
  ],
  [
    "rewinds only once the new primary has checkpointed on its timeline",
    view(pledgedStandby(101), m3Reigns, {
      ...after,
      primary: observation("m3", {
        postgres: primary(1, [], { timeline: timeline(3) }),
        promises: { walEpoch: epoch(2) },
      }),
    }),
    "waiting-for-primary",
  ],
  [
    "clones when a timeline only shares its number",
    view(pledgedStandby(60, { timeline: timeline(3) }), m3Reigns, after),
    "recloning: stop fast, clone m3 replacing",
  ],
  [
    "clones when a rewind went wrong",
    view(STOPPED, m3Reigns, { ...after, needsClone: "pg_rewind failed" }),
    "recloning: stop fast, clone m3 replacing",
  ],
  [
    "clones after PostgreSQL failed to start again and again",
    view(STOPPED, m3Reigns, { ...after, failedStarts: 10 }),
    "recloning: stop fast, clone m3 replacing",
  ],
  [
    "removes what was kept aside once it streams",
    view(standby(), clusterState(), { hasAside: true }),
    "cleaning-up: discard-aside",
  ],
  // A primary.
  [
    "serves",
    view(primary(1, ["m2", "m3"]), clusterState(), {
      selfId: id("m1"),
      settingsHash: settings(null, [1, "m2", "m3"], "m1"),
    }),
    "serving",
  ],
  [
    "moves to an announced cohort",
    view(primary(1, ["m2", "m3"]), clusterState({ reign: reign({ pendingCohort: cohort(1, "m2") }) }), {
      selfId: id("m1"),
    }),
    "configuring: configure none/m2, reload",
  ],
  [
    "proves with a checkpoint that its first rule is known to all sessions",
    view(
      primary(0, ["m2"]),
      clusterState({ reign: reign({ cohort: cohort(0, "m2"), pendingCohort: cohort(1, "m2") }) }),
      { selfId: id("m1") },
    ),
    "configuring: configure none/m2, reload, checkpoint",
  ],
  [
    "makes the roles that members need",
    view(primary(1, ["m2", "m3"], { isProvisioned: false }), clusterState(), {
      selfId: id("m1"),
      settingsHash: settings(null, [1, "m2", "m3"], "m1"),
    }),
    "provisioning: provision",
  ],
  [
    "checkpoints on its new timeline",
    view(primary(1, ["m2", "m3"], { checkpointTimeline: timeline(1) }), clusterState(), {
      selfId: id("m1"),
      settingsHash: settings(null, [1, "m2", "m3"], "m1"),
    }),
    "checkpointing: checkpoint",
  ],
  [
    "hands over with a checkpoint and a clean stop",
    view(
      primary(1, ["m2", "m3"]),
      clusterState({ switchover: { operationId: "op", epoch: epoch(1), targetId: id("m2") } }),
      { selfId: id("m1") },
    ),
    "handing-over: checkpoint, stop fast, pledge 1",
  ],
];

test.each([...table])("decideMember() %s", (_name, situation, expected) => {
  expect(say(decideMember(situation))).toBe(expected);
});

test.each([
  [
    "a server that hangs and was promoted is ended before its member pledges",
    fenced,
    { hasStandbySignal: false },
    "pledging: stop immediate, pledge 1",
  ],
  ["a standby that hangs pledges at once: nobody waits for it", fenced, {}, "pledging: pledge 1"],
  [
    "a former primary that hangs is ended, before it thaws",
    m3Reigns,
    { hasStandbySignal: false },
    "superseded: stop immediate",
  ],
  ["a standby that hangs for a moment is left alone", m3Reigns, { unansweredMs: 2_000 }, "not-answering"],
  [
    "a standby that hangs for long is started anew",
    m3Reigns,
    { unansweredMs: 10_000 },
    "not-answering: stop immediate",
  ],
  [
    "the primary that hangs is the leader's to judge",
    m2Reigns,
    { unansweredMs: 60_000, hasStandbySignal: false, promises: promises({ walEpoch: epoch(2) }) },
    "not-answering",
  ],
] as const)("%s", (_, state, extra, expected) => {
  const { promises: kept = promises({ walEpoch: epoch(1), pledgedEpoch: epoch(0) }), ...more } =
    extra as Partial<MemberView>;
  expect(
    say(decideMember(view({ kind: "unresponsive", detail: "" }, state, { promises: kept, ...more }))),
  ).toBe(expected);
});

describe("under a lease (F6)", () => {
  const LEASED = { standbyIds: [], k: 0, isLeased: true } as const;
  const appointed = clusterState({ reign: { ...(m2Reigns.reign ?? reign()), cohort: LEASED } });
  const own = { promises: promises({ pledgedEpoch: epoch(1) }), settingsHash: settings(null, null) };
  const lease = (remainingMs: number, number = 2) => ({ lease: { epoch: epoch(number), remainingMs } });
  const waits = pledgedStandby();

  test("nobody is promoted before the lease is there", () => {
    expect(say(decideMember(view(waits, appointed, own)))).toBe("waiting-for-lease");
    expect(say(decideMember(view(waits, appointed, { ...own, ...lease(2_000, 1) })))).toBe(
      "waiting-for-lease",
    );
    expect(say(decideMember(view(waits, appointed, { ...own, ...lease(0) })))).toBe("waiting-for-lease");
    const plan = decideMember(view(waits, appointed, { ...own, ...lease(2_000) }));
    expect(plan.actions).toMatchObject([{ kind: "promote", epoch: 2, needsLease: true }]);
  });

  test("what can be prepared is prepared meanwhile", () => {
    expect(say(decideMember(view(waits, appointed, { ...own, settingsHash: null })))).toStartWith(
      "promoting: configure",
    );
    const plan = decideMember(view(waits, appointed, { ...own, settingsHash: null }));
    expect(plan.actions.map(({ kind }) => kind)).not.toContain("promote");
  });

  test("a primary acknowledges alone only once it has one, and its supervisor is asked to make sure", () => {
    const moving = clusterState({
      reign: { ...(m2Reigns.reign ?? reign()), lineage: reign().lineage, pendingCohort: LEASED },
    });
    const serving = primary(1, ["m3"]);
    const ready = { promises: promises({ walEpoch: epoch(2) }), settingsHash: settings(null, [1, "m3"]) };
    expect(say(decideMember(view(serving, moving, ready)))).toBe("waiting-for-lease");
    const plan = decideMember(view(serving, moving, { ...ready, ...lease(900) }));
    expect(plan.actions).toMatchObject([{ kind: "configure", needsLease: true }, { kind: "reload" }]);
  });

  test("is given back once commits are guarded by standbys again", () => {
    const reigns = clusterState({ reign: { ...(m2Reigns.reign ?? reign()), lineage: reign().lineage } });
    const serving = primary(1, ["m3"]);
    const ready = {
      promises: promises({ walEpoch: epoch(2) }),
      settingsHash: settings(null, [1, "m3"]),
      ...lease(900),
    };
    expect(say(decideMember(view(serving, reigns, ready)))).toBe("configuring: release-lease");
    // Not where what is read needs one.
    const guarded = { ...reigns, spec: REFUSES_STALE_READS };
    expect(say(decideMember(view(serving, guarded, ready)))).toStartWith("serving");
  });

  test("a reign over a quorum needs one, too, where stale reads are refused", () => {
    const guarded = { ...m2Reigns, spec: REFUSES_STALE_READS };
    const ready = { ...own, settingsHash: settings(null, [1, "m3"]) };
    expect(say(decideMember(view(waits, guarded, ready)))).toBe("waiting-for-lease");
    const plan = decideMember(view(waits, guarded, { ...ready, ...lease(2_000) }));
    expect(plan.actions).toMatchObject([{ kind: "promote", epoch: 2, needsLease: true }]);
  });
});

test("a full disk is no place for a clone, whatever else is wrong with the data", () => {
  const replaced = { needsClone: "a rewind failed", isDiskFull: true };
  expect(say(decideMember(view(STOPPED, m3Reigns, { ...replaced, primary: m3IsPrimary })))).toBe("disk-full");
  expect(
    say(decideMember(view(STOPPED, m3Reigns, { ...replaced, isDiskFull: false, primary: m3IsPrimary }))),
  ).toStartWith("recloning");
});

describe("a clone's source", () => {
  const tags = { failoverPriority: 0, isNoFailover: false, isCloneSource: true };
  const members = [member("m1", { tags }), member("m2", { data: "none" }), member("m3")];
  const state = { ...m3Reigns, members };
  const follows = standby({
    timeline: timeline(3),
    walReceiver: { upstream: "m3:5432", status: "streaming" },
  });
  const cloned = (postgres: PostgresStatus, walEpoch = 2, isConnected = true): string => {
    const m1 = observation("m1", { postgres, promises: { walEpoch: epoch(walEpoch) }, isConnected });
    const extra = {
      primary: m3IsPrimary,
      observations: new Map([[id("m1"), m1]]),
      promises: promises({ walEpoch: epoch(0) }),
    };
    return say(decideMember(view({ kind: "absent" }, state, extra)));
  };

  test("is a standby with the tag that follows this reign on its timeline", () =>
    expect(cloned(follows)).toBe("cloning: clone m1"));
  test.each([
    ["it follows another reign", follows, 1, true],
    ["it cannot be reached", follows, 2, false],
    ["it does not stream", { ...follows, walReceiver: null }, 2, true],
    ["it is still on the timeline before", { ...follows, timeline: timeline(2) }, 2, true],
    ["it is stopped", STOPPED, 2, true],
  ] as const)("is the primary where %s", (_, postgres, walEpoch, isConnected) =>
    expect(cloned(postgres, walEpoch, isConnected)).toBe("cloning: clone m3"),
  );
});

describe("the end of a reign under a lease", () => {
  const LEASED = { standbyIds: [], k: 0, isLeased: true } as const;
  const ending = clusterState({ reign: reign({ cohort: LEASED, fence: FENCE }) });
  const m1 = (extra: Parameters<typeof observation>[1]) => ({ primary: observation("m1", extra) });
  const serves = { postgres: primary(0, ["m2", "m3"]) };

  test("its standbys go on receiving while the primary ends, and pledge then", () => {
    expect(say(decideMember(view(standby(), ending, { ...m1(serves), fenceKnownMs: 100 })))).toBe("draining");
    const gone = m1({ postgres: STOPPED, promises: { pledgedEpoch: epoch(1) } });
    expect(say(decideMember(view(standby(), ending, { ...gone, fenceKnownMs: 100 })))).toBe(
      "pledging: pledge 1",
    );
  });

  test.each([
    ["it takes too long", { fenceKnownMs: 3_001 }],
    ["nobody reaches it", m1({ ...serves, isConnected: false })],
  ])("they do not wait where %s", (_, extra) =>
    expect(say(decideMember(view(standby(), ending, { ...m1(serves), fenceKnownMs: 100, ...extra })))).toBe(
      "pledging: pledge 1",
    ),
  );

  test("the primary itself ends cleanly, but not for long", () => {
    const plan = decideMember(
      view(primary(0, []), {
        ...ending,
        reign: reign({ primaryId: id("m2"), cohort: LEASED, fence: FENCE }),
      }),
    );
    expect(plan.actions).toMatchObject([{ kind: "stop", mode: "fast", withinMs: 1_500 }, { kind: "pledge" }]);
  });
});

test("decideMember() tells the supervisor in one line why it clones anew: PostgreSQL's programs say it in several", () => {
  const needsClone = "pg_rewind failed: \npg_rewind: error: could not write\r\n  No space left\n";
  const plan = decideMember(view(STOPPED, clusterState(), { needsClone }));
  const clone = plan.actions.find(({ kind }) => kind === "clone");
  expect(clone).toMatchObject({
    replace: "pg_rewind failed:; pg_rewind: error: could not write; No space left",
  });
});

test("a primary that fell before its promotion was recorded is not promoted twice in one epoch", () => {
  const fell = { promises: promises({ walEpoch: epoch(2) }) };
  expect(say(decideMember(view(pledgedStandby(100, { timeline: timeline(3) }), m2Reigns, fell)))).toBe(
    "waiting-for-primary",
  );
  expect(say(decideMember(view(pledgedStandby(100, { timeline: timeline(2) }), m2Reigns, fell)))).toContain(
    "promote 2",
  );
  // Still in recovery, with the segment of its new timeline already there.
  const opening = pledgedStandby(100, { timeline: timeline(3), isPromoting: true });
  expect(say(decideMember(view(opening, m2Reigns, fell)))).toContain("promote 2");
});

test("a server that was told to promote, and whose reign is over, is ended before it follows anybody (F2)", () => {
  const told = { promises: promises({ walEpoch: epoch(1), timelines: m3Reigns.reign?.timelines ?? [] }) };
  const opening = pledgedStandby(100, { isPromoting: true });
  expect(say(decideMember(view(opening, m3Reigns, told)))).toBe("superseded: stop immediate");
});

describe("a standby that is not consistent yet", () => {
  const following = {
    promises: promises({
      newestEpoch: epoch(2),
      pledgedEpoch: epoch(1),
      walEpoch: epoch(2),
      timelines: m3Reigns.reign?.timelines ?? [],
    }),
    settingsHash: settings("m3", [1, "m1", "m3"]),
  };
  const recovery = (atTimeline: number, at: number, newest = atTimeline) => ({
    kind: "starting" as const,
    detail: "",
    recovery: {
      consistentAt: { timeline: timeline(atTimeline), lsn: lsn(at) },
      newestTimeline: timeline(newest),
    },
  });

  test.each([
    [
      "fetches from the primary what it lacks, where that is in the present history",
      recovery(2, 100),
      {},
      "configuring: configure m3/m1,m3, reload",
    ],
    [
      "is cut off from the reign before first, which it may still follow",
      recovery(2, 100),
      { promises: promises({ newestEpoch: epoch(2), walEpoch: epoch(1) }) },
      "pledging: pledge 1",
    ],
    ["is left alone once it does", recovery(2, 100), following, "starting"],
    ["is left alone where nothing is known of it", { kind: "starting", detail: "" }, {}, "starting"],
    ["fetches nothing where its files go beyond the fork", recovery(2, 101), {}, "starting"],
    [
      "fetches nothing where the history that it replays along has another fork",
      recovery(2, 90, 3),
      {},
      "starting",
    ],
    ["fetches nothing where it was promoted", recovery(2, 100), { hasStandbySignal: false }, "starting"],
    [
      "is built anew once it is certain that nobody has what it lacks",
      recovery(2, 101),
      { startingMs: 60_000 },
      "recloning: stop fast, clone m3 replacing",
    ],
    [
      "is not built anew while the primary could not give a clone",
      recovery(2, 101),
      { startingMs: 60_000, primary: null },
      "waiting-for-primary",
    ],
    [
      "may take long where it can get there",
      recovery(2, 100),
      { ...following, startingMs: 600_000 },
      "starting",
    ],
  ] as readonly (readonly [string, PostgresStatus, Partial<MemberView>, string])[])(
    "%s",
    (_, postgres, extra, expected) => {
      expect(say(decideMember(view(postgres, m3Reigns, { ...after, ...extra })))).toBe(expected);
    },
  );

  test("pledges like everybody", () => {
    expect(say(decideMember(view(recovery(2, 100), fenced)))).toBe("pledging: pledge 1");
  });
});

describe("a standby that needs WAL which its upstream has no more", () => {
  const reach = (untilLsn: number, primaryFromLsn: number, ofEpoch = 1) => ({
    walReach: { untilLsn: lsn(untilLsn), primaryFromLsn: lsn(primaryFromLsn), epoch: epoch(ofEpoch) },
  });
  const cut = standby({ walReceiver: null });
  const starting = {
    kind: "starting",
    detail: "",
    recovery: { consistentAt: { timeline: timeline(2), lsn: lsn(90) }, newestTimeline: timeline(2) },
  } as const;
  const notReady = {
    primary: observation("m1", { postgres: primary(1, ["m3"], { checkpointTimeline: timeline(1) }) }),
  };
  const anew = "recloning: stop fast, clone m1 replacing";

  test.each([
    ["is built anew", cut, reach(40, 60), anew],
    ["is built anew although it takes no connections yet", starting, reach(40, 60), anew],
    ["goes on asking where it is still to be had", cut, reach(60, 60), "connecting"],
    ["goes on starting where it is still to be had", starting, reach(60, 60), "starting"],
    ["goes on asking while nobody has looked what it needs", cut, { walReach: null }, "connecting"],
    [
      "goes on asking where the primary that said it is of another reign",
      cut,
      reach(40, 60, 0),
      "connecting",
    ],
    ["is left alone once it streams", standby(), reach(40, 60), "streaming"],
    [
      "follows as agreed first",
      cut,
      { ...reach(40, 60), settingsHash: "other" },
      "configuring: configure m1/m1,m3, reload",
    ],
    [
      "keeps what it has while the primary could not give a clone",
      cut,
      { ...reach(40, 60), ...notReady },
      "waiting-for-primary",
    ],
    ["has no room for a clone", cut, { ...reach(40, 60), isDiskFull: true }, "disk-full"],
  ] as readonly (readonly [string, PostgresStatus, Partial<MemberView>, string])[])(
    "%s",
    (_, postgres, extra, expected) =>
      expect(say(decideMember(view(postgres, clusterState(), extra)))).toBe(expected),
  );

  test("says why, in the same words however far the primary has come", () => {
    const why = (fromLsn: number) => decideMember(view(cut, clusterState(), reach(40, fromLsn))).detail;
    expect(why(60)).toBe("it needs WAL from 0/28 on, which the primary has no more");
    expect(why(90)).toBe(why(60));
  });

  test("keeps what it has while the reign is being ended: it may be asked for it", () => {
    const pledged = { promises: promises(PLEDGED), ...reach(40, 60) };
    expect(say(decideMember(view(cut, fenced, pledged)))).toBe("pledged");
  });
});

describe("parameters", () => {
  const layers = {
    cluster: { work_mem: "1MB" },
    primary: { work_mem: "2MB" },
    members: { [id("m3")]: { work_mem: "3MB" } },
  };
  const spec = { ...clusterState().spec, postgres: { parameters: layers } };

  test("that changed are configured and reloaded, on a standby and on the primary, each with its own", () => {
    const plan = decideMember(view(standby(), clusterState({ spec })));
    expect(plan.actions.map(({ kind }) => kind)).toEqual(["configure", "reload"]);
    expect(configured(plan)).toEqual({ work_mem: "1MB" });
    const asPrimary = view(primary(1, ["m2", "m3"]), clusterState({ spec }), { selfId: id("m1") });
    expect(
      configured(decideMember({ ...asPrimary, settingsHash: settings(null, [1, "m2", "m3"], "m1") })),
    ).toEqual({
      work_mem: "2MB",
    });
  });

  test("that are in the files already are left alone", () => {
    const same = { ...JSON.parse(FOLLOWS_M1), parameters: { work_mem: "1MB" } };
    const plan = decideMember(
      view(standby(), clusterState({ spec }), { settingsHash: JSON.stringify(same) }),
    );
    expect(say(plan)).toBe("streaming");
  });
});

function configured(plan: Plan): unknown {
  return plan.actions.flatMap((action) =>
    action.kind === "configure" ? [action.settings.parameters] : [],
  )[0];
}
