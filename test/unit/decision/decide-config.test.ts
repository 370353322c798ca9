import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { FollowerStatus, GroupConfig } from "../../../src/cluster/consensus.ts";
import type { Member } from "../../../src/cluster/member.ts";
import { decideConfig, type GroupView } from "../../../src/decision/decide-config.ts";
import { planConfig } from "../../../src/raft/engine/config-change.ts";
import { clusterState, id, member } from "../../support/situation.ts";

interface World {
  readonly members?: readonly Member[];
  readonly self?: string;
  readonly voters: readonly string[];
  readonly learners?: readonly string[];
  readonly outgoing?: readonly string[];
  /** Not heard within an election time. */
  readonly silent?: readonly string[];
  readonly behind?: readonly string[];
  readonly longSilent?: readonly string[];
  readonly votersMax?: number;
  readonly featureLevel?: number;
  readonly cohort?: readonly string[];
  readonly isConfigPending?: boolean;
  /** On their way out, and their PostgreSQL is up. */
  readonly stopping?: readonly string[];
}

function view(world: World): GroupView {
  const { voters, learners = [], outgoing = [], silent = [], behind = [], longSilent = [], cohort } = world;
  const blank = clusterState();
  const self = id(world.self ?? "m1");
  const config: GroupConfig = {
    voters: voters.map(id),
    learners: learners.map(id),
    outgoing: outgoing.map(id),
    learnersNext: [],
  };
  const followers = [...new Set([...config.voters, ...config.outgoing, ...config.learners])]
    .filter((each) => each !== self)
    .map(
      (each): FollowerStatus => ({
        id: each,
        matchIndex: 9 as LogIndex,
        isActive: !silent.map(id).includes(each),
        isCaughtUp: !silent.map(id).includes(each) && !behind.map(id).includes(each),
      }),
    );
  const { reign } = blank;
  return {
    state: clusterState({
      members: world.members ?? [...new Set([...voters, ...learners])].sort().map((name) => member(name)),
      featureLevel: world.featureLevel ?? 2,
      spec: { ...blank.spec, consensus: { votersMax: world.votersMax ?? 5 } },
      reign:
        cohort === undefined || reign === null
          ? null
          : { ...reign, cohort: { standbyIds: cohort.map(id), k: 1 } },
    }),
    selfId: self,
    raft: { config, followers, isReady: true, isConfigPending: world.isConfigPending ?? false },
    longSilentIds: new Set(longSilent.map(id)),
    stoppingIds: new Set((world.stopping ?? []).map(id)),
  };
}

const target = (voters: readonly string[], learners: readonly string[] = []) => ({
  kind: "target",
  target: { voters: voters.map(id), learners: learners.map(id) },
});

describe("decideConfig()", () => {
  test("lets a new member learn first", () => {
    const members = ["m1", "m2"].map((name) => member(name));
    expect(decideConfig(view({ voters: ["m1"], members }))).toMatchObject({
      ...target(["m1"], ["m2"]),
      reason: "learners-growing",
      detail: "m2",
    });
  });

  test("gives no vote to one of two, and says why", () => {
    expect(decideConfig(view({ voters: ["m1"], learners: ["m2"] }))).toEqual({
      kind: "hold",
      reason: "voters-even",
      detail: "m2",
    });
  });

  test("goes from one voter to three in one step, once both have caught up", () => {
    const world = { voters: ["m1"], learners: ["m2", "m3"] };
    expect(decideConfig(view({ ...world, behind: ["m3"] }))).toMatchObject({
      kind: "hold",
      reason: "voters-catching-up",
      detail: "m3",
    });
    expect(decideConfig(view(world))).toMatchObject({
      ...target(["m1", "m2", "m3"]),
      reason: "voters-growing",
      detail: "m2, m3",
    });
  });

  test("stops at the greatest odd number that operators allow", () => {
    const world = { voters: ["m1", "m2", "m3"], learners: ["m4", "m5"] };
    expect(decideConfig(view({ ...world, votersMax: 3 }))).toMatchObject({ reason: "voters-settled" });
    expect(decideConfig(view(world))).toMatchObject(target(["m1", "m2", "m3", "m4", "m5"]));
  });

  test("prefers data members to witnesses among newcomers, and keeps who votes", () => {
    const witness: Member = { ...member("m2"), kind: "witness" };
    const members = [member("m1"), witness, member("m3"), member("m4")];
    const world = { members, voters: ["m1"], learners: ["m2", "m3", "m4"] };
    expect(decideConfig(view(world))).toMatchObject(target(["m1", "m3", "m4"], ["m2"]));
    const kept = { members, voters: ["m1", "m2", "m3"], learners: ["m4"] };
    expect(decideConfig(view(kept))).toMatchObject({ kind: "hold", reason: "voters-even" });
  });

  test("follows wishes: who shall vote takes a place, who shall learn gives one up", () => {
    const members = [member("m1"), member("m2"), member("m3"), { ...member("m4"), voting: "voter" as const }];
    expect(decideConfig(view({ members, voters: ["m1", "m2", "m3"], learners: ["m4"] }))).toMatchObject({
      ...target(["m4", "m1", "m2"], ["m3"]),
      reason: "voters-replacing",
    });
    const learning = [member("m1"), { ...member("m2"), voting: "learner" as const }, member("m3")];
    expect(decideConfig(view({ members: learning, voters: ["m1", "m2", "m3"] }))).toMatchObject({
      ...target(["m1"], ["m2", "m3"]),
      reason: "voters-shrinking",
    });
  });

  test("replaces a dead voter only after the named time, and only by a member that has caught up", () => {
    const world = { voters: ["m1", "m2", "m3"], learners: ["m4"], silent: ["m3"] };
    expect(decideConfig(view(world))).toMatchObject({ kind: "hold" });
    const long = { ...world, longSilent: ["m3"] };
    expect(decideConfig(view(long))).toMatchObject({
      ...target(["m1", "m2", "m4"], ["m3"]),
      reason: "voters-replacing",
      detail: "m3",
    });
    expect(decideConfig(view({ ...long, behind: ["m4"] }))).toMatchObject({ kind: "hold" });
    expect(
      decideConfig(view({ voters: ["m1", "m2", "m3"], longSilent: ["m3"], silent: ["m3"] })),
    ).toMatchObject({
      kind: "hold",
    });
  });

  test("takes out a member that leaves, but not while a rule of the reign names it or its PostgreSQL is up", () => {
    const members = [member("m1"), member("m2"), { ...member("m3"), isLeaving: true }];
    const world = { members, voters: ["m1", "m2", "m3"] };
    expect(decideConfig(view({ ...world, cohort: ["m2", "m3"] }))).toMatchObject({ kind: "hold" });
    expect(decideConfig(view({ ...world, cohort: ["m2"], stopping: ["m3"] }))).toMatchObject({
      kind: "hold",
    });
    expect(decideConfig(view({ ...world, cohort: ["m2"] }))).toMatchObject({
      ...target(["m1"], ["m2"]),
      reason: "voters-removing",
      detail: "m3",
    });
  });

  test("takes out who is no member, and replaces it in the same step", () => {
    const members = ["m1", "m2", "m4"].map((name) => member(name));
    const world = { members, voters: ["m1", "m2", "m3"], learners: ["m4"] };
    expect(decideConfig(view(world))).toMatchObject(target(["m1", "m2", "m4"]));
  });

  test("lets a leader that leaves hand over first; alone it makes others voters", () => {
    const members = [{ ...member("m1"), isLeaving: true }, member("m2"), member("m3")];
    expect(decideConfig(view({ members, voters: ["m1", "m2", "m3"] }))).toMatchObject({
      kind: "hold",
      reason: "leader-leaving",
    });
    expect(decideConfig(view({ members, voters: ["m1"], learners: ["m2", "m3"] }))).toMatchObject(
      target(["m2"], ["m3"]),
    );
  });

  test("waits while a change is under way, and where too few would be heard", () => {
    const world = { voters: ["m1"], learners: ["m2", "m3"] };
    expect(decideConfig(view({ ...world, isConfigPending: true }))).toMatchObject({
      reason: "voters-changing",
    });
    expect(decideConfig(view({ ...world, outgoing: ["m1"] }))).toMatchObject({ reason: "voters-changing" });
    const members = ["m1", "m2", "m3"].map((name) => member(name));
    const unheard = { members, voters: ["m2", "m3", "m1", "m9"], silent: ["m2", "m3"] };
    expect(decideConfig(view(unheard))).toMatchObject({ kind: "hold", reason: "voters-unheard" });
  });

  test("adds voters one by one while release 0.1.0 may be among us", () => {
    const world = { voters: ["m1"], learners: ["m2", "m3"], featureLevel: 1 };
    expect(decideConfig(view(world))).toMatchObject(target(["m1", "m2"], ["m3"]));
  });
});

/** What one member of a small world may be. */
const KINDS = [
  "voter",
  "dead voter",
  "long dead voter",
  "caught up",
  "behind",
  "unknown",
  "leaving voter",
  "leaving learner",
  "wants to vote",
  "voter that shall learn",
] as const;
type Kind = (typeof KINDS)[number];

function smallWorld(others: readonly Kind[]): World {
  const named = others.map((kind, at) => ({ kind, name: `m${at + 2}` }));
  const of = (...kinds: readonly Kind[]) =>
    named.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name);
  return {
    voters: [
      "m1",
      ...of("voter", "dead voter", "long dead voter", "leaving voter", "voter that shall learn"),
    ],
    learners: of("caught up", "behind", "leaving learner", "wants to vote"),
    silent: of("dead voter", "long dead voter"),
    longSilent: of("long dead voter"),
    behind: of("behind"),
    members: [
      member("m1"),
      ...named.map(({ kind, name }): Member => {
        if (kind === "leaving voter" || kind === "leaving learner")
          return { ...member(name), isLeaving: true };
        if (kind === "wants to vote") return { ...member(name), voting: "voter" };
        if (kind === "voter that shall learn") return { ...member(name), voting: "learner" };
        return member(name);
      }),
    ],
  };
}

function* tuples(length: number): Generator<readonly Kind[]> {
  if (length === 0) {
    yield [];
    return;
  }
  for (const rest of tuples(length - 1)) {
    for (const kind of KINDS) {
      // The order of the others matters only by their names: the sorted ones stand for all.
      if (rest.length === 0 || KINDS.indexOf(kind) >= KINDS.indexOf(rest.at(-1) ?? "voter"))
        yield [...rest, kind];
    }
  }
}

const hasQuorum = (voters: readonly MemberId[], silent: readonly MemberId[]) =>
  voters.filter((each) => !silent.includes(each)).length * 2 > voters.length;

/** Repeats the decision, each time with what Raft makes of it, until nothing changes. */
function converge(first: World): { readonly steps: number; readonly last: World } {
  let world = first;
  for (let steps = 0; steps < 6; steps += 1) {
    const seen = view(world);
    const decision = decideConfig(seen);
    if (decision.kind === "hold") return { steps, last: world };
    const silent = (world.silent ?? []).map(id);
    const { config } = seen.raft;
    const planned = planConfig(config, decision.target);
    expect(planned).not.toBeNull();
    // What strict checking asks of a change: nobody votes who did not learn, and both majorities are heard.
    for (const voter of decision.target.voters) {
      expect([...config.voters, ...config.learners]).toContain(voter);
    }
    expect(hasQuorum(decision.target.voters, silent)).toBe(true);
    expect(hasQuorum(config.voters, silent)).toBe(true);
    expect(decision.target.voters.length % 2).toBe(1);
    const names = new Map([...(world.members ?? [])].map((each) => [each.id, each.name]));
    const named = (ids: readonly MemberId[]) => ids.map((each) => names.get(each) ?? each).sort();
    const { voters, learners } = decision.target;
    world = { ...world, voters: named(voters), learners: named(learners) };
  }
  throw new Error(`no end: ${JSON.stringify(first)}`);
}

test("every world of up to six members comes to rest in a few safe steps", () => {
  let worlds = 0;
  for (let others = 0; others <= 5; others += 1) {
    for (const kinds of tuples(others)) {
      const world = smallWorld(kinds);
      if (!hasQuorum(world.voters.map(id), (world.silent ?? []).map(id))) continue;
      worlds += 1;
      const { steps, last } = converge(world);
      expect(steps).toBeLessThanOrEqual(3);
      // At rest, an even number of voters is left only where too few of fewer would be heard.
      const isEven = last.voters.length % 2 === 0;
      const decision = decideConfig(view(last));
      if (isEven) expect(decision.reason).toBe("voters-unheard");
      if (decision.reason === "voters-unheard") continue;
      for (const { isLeaving, name } of last.members ?? []) {
        const isThere = [...last.voters, ...(last.learners ?? [])].includes(name);
        expect(isThere).toBe(isLeaving !== true);
      }
    }
  }
  expect(worlds).toBeGreaterThan(1_000);
});
