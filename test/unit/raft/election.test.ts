import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { EngineStatus } from "../../../src/raft/engine/engine.ts";
import { DEFAULT_LIMITS } from "../../../src/raft/engine/limits.ts";
import { RaftLog } from "../../../src/raft/engine/log.ts";
import { Membership } from "../../../src/raft/engine/membership.ts";
import {
  becomeCandidate,
  becomeFollower,
  becomeLeader,
  becomePreCandidate,
} from "../../../src/raft/engine/roles.ts";
import { type Body, EngineState, type Role } from "../../../src/raft/engine/state.ts";
import { MemoryLogStore } from "../../support/memory-log-store.ts";
import {
  Bench,
  config,
  configEntry,
  entry,
  id,
  logOf,
  M1,
  M2,
  M3,
  M4,
  M5,
  TIMING,
  termsOf,
} from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";
import { SeededRandom } from "../../support/seeded-random.ts";

const { electionTicksMin, electionTicksMax } = TIMING;
/** Does not campaign because a test takes its time. */
const PATIENT = { integer: (_min: number, max: number) => max };
const VOTE = { type: "vote", last: id(9, 9), isTransfer: false } as const;

/** Has a leader of term 1 that it heard a moment ago. */
function follower(): Bench {
  const bench = new Bench({ term: 1 }).heartbeat(M2, 1);
  bench.take();
  return bench;
}

describe("a group of one", () => {
  test("elects itself without a tick, and commits only after its own disk has answered", () => {
    const bench = new Bench({ voters: [M1] });
    bench.engine.campaign();
    const vote = bench.engine.ready();
    expect(vote?.hard).toMatchObject({ term: 1, vote: M1 });
    expect(bench.status.role).toBe("candidate");
    bench.persist(vote);
    expect(bench.status).toMatchObject({ role: "leader", commitIndex: 0, isReady: false });
    const noop = bench.engine.ready();
    expect(noop).toMatchObject({ entries: [{ index: 1, kind: "noop" }], committed: [] });
    expect(bench.status.commitIndex).toBe(0 as LogIndex);
    bench.persist(noop);
    expect(bench.status).toMatchObject({ commitIndex: 1, isReady: false });
    bench.settle();
    expect(bench.status).toMatchObject({ appliedIndex: 1, isReady: true });
  });

  test("with others in the group, campaign() does nothing", () => {
    const bench = new Bench();
    bench.engine.campaign();
    expect(bench.settle().take()).toEqual([]);
    expect(bench.status.role).toBe("follower");
  });
});

describe("who may campaign", () => {
  test("a learner does not, but votes when asked: it may have been promoted without knowing", () => {
    const bench = new Bench({ voters: [M2, M3], learners: [M1] }).tick(200);
    expect(bench.status.role).toBe("follower");
    bench.receive(M2, 1, VOTE);
    expect(bench.take()).toMatchObject([{ type: "vote-response", isGranted: true }]);
  });

  test("a member that is in none of the configurations that may count does not", () => {
    expect(new Bench({ entries: [configEntry(1, 1, [M2, M3])], commit: 1 }).tick(200).status.role).toBe(
      "follower",
    );
    expect(new Bench({ voters: [] }).tick(200).status.role).toBe("follower");
  });

  test("a member that a change removes does, while that is not committed: nobody else may be able to win (figure 4.6)", () => {
    const entries = [configEntry(1, 1, [M1, M2, M3]), configEntry(2, 1, [M2, M3])];
    const bench = new Bench({ entries, commit: 1 }).losePatience();
    expect(bench.takeOf("pre-vote").map(({ to }) => to)).toEqual([M2, M3]);
    // It does not count itself: the change counts already.
    bench.receive(M2, 2, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("pre-candidate");
    bench.receive(M3, 2, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("candidate");
  });

  test("a joiner does not while it replays history: an old configuration of one would elect it", () => {
    const bench = new Bench({ entries: [configEntry(1, 1, [M1]), entry(2, 1)], promotableFrom: 2 });
    bench.engine.campaign();
    expect(bench.tick(200).status.role).toBe("follower");
    bench.append(M2, 1, [2, 1], [], 2);
    expect(bench.losePatience().status.role).toBe("leader");
  });

  test("timeout-now makes a follower of this leader campaign at once, and nobody else", () => {
    const bench = follower();
    bench.receive(M3, 1, { type: "timeout-now" });
    expect(bench.status.role).toBe("follower");
    bench.receive(M2, 1, { type: "timeout-now" });
    expect(bench.status).toMatchObject({ role: "candidate", term: 2 });
    expect(bench.takeOf("vote")).toMatchObject([{ isTransfer: true }, { isTransfer: true }]);
    const learner = new Bench({ voters: [M2, M3], learners: [M1], term: 1 });
    learner.receive(M2, 1, { type: "heartbeat", commit: 0 as LogIndex, round: 1 });
    learner.receive(M2, 1, { type: "timeout-now" });
    expect(learner.status.role).toBe("follower");
  });

  test("messages from members that are not in the own configuration are answered", () => {
    const bench = new Bench({ entries: logOf(1) });
    bench.append(M5, 2, [1, 1], [entry(2, 2)]);
    expect(bench.take()).toMatchObject([{ type: "append-response", to: M5, index: 2 }]);
    expect(bench.status.leaderId).toBe(M5);
  });
});

describe("an election in a group", () => {
  test.each([
    { count: 3, absent: [], role: "leader" },
    { count: 3, absent: [M3], role: "leader" },
    { count: 3, absent: [M2, M3], role: "pre-candidate" },
    { count: 4, absent: [M4], role: "leader" },
    { count: 4, absent: [M3, M4], role: "pre-candidate" },
    { count: 5, absent: [M4, M5], role: "leader" },
    { count: 5, absent: [M3, M4, M5], role: "pre-candidate" },
  ] as const)("is won exactly if a majority hears of it: $count members, absent $absent", (row) => {
    const group = RaftGroup.of(row.count)
      .isolate(...row.absent)
      .elect(M1);
    expect(group.member(M1).status.role).toBe(row.role);
    const term = row.role === "leader" ? 1 : 0;
    expect(group.member(M2).status.term).toBe((row.absent.includes(M2 as never) ? 0 : term) as Term);
  });

  test("is lost by whoever lacks what a majority has", () => {
    const group = new RaftGroup(
      new Bench({ ...PATIENT, id: M1, term: 2 }),
      new Bench({ ...PATIENT, id: M2, entries: logOf(1), term: 2 }),
      new Bench({ ...PATIENT, id: M3, entries: logOf(1, 2) }),
    ).elect(M1);
    expect(group.member(M1).status).toMatchObject({ role: "follower", term: 2 });
    expect(group.elect(M3).member(M3).status).toMatchObject({ role: "leader", term: 3 });
  });

  test("can be won by each member in turn, each time in a later term", () => {
    const group = RaftGroup.of(3);
    for (const [at, winner] of [M1, M2, M3, M1].entries()) {
      group.elect(winner);
      expect(group.roles).toEqual(
        [M1, M2, M3].map((member) => `${member} ${member === winner ? "leader" : "follower"} ${at + 1}`),
      );
    }
  });

  test("of two who campaign at once, one wins and the other follows it", () => {
    const group = RaftGroup.of(3, { integer: (min) => min });
    for (const bench of group.all) bench.tick(TIMING.electionTicksMin);
    for (const candidate of [M1, M3]) group.member(candidate).tick();
    group.exchange();
    expect(group.all.map(({ status }) => [status.role, status.leaderId])).toEqual([
      ["leader", M1],
      ["follower", M1],
      ["follower", M1],
    ]);
  });

  test("a new leader overwrites what a leader of an earlier term could not commit", () => {
    // M3 led term 2 with the votes of M4 and M5, and crashed before its entry reached anybody.
    const voters = [M1, M2, M3, M4, M5];
    const more = { ...PATIENT, voters };
    const group = new RaftGroup(
      new Bench({ ...more, id: M1, entries: logOf(1) }),
      new Bench({ ...more, id: M2, entries: logOf(1) }),
      new Bench({ ...more, id: M3, entries: logOf(2) }),
      new Bench({ ...more, id: M4, term: 2, vote: M3 }),
      new Bench({ ...more, id: M5, term: 2, vote: M3 }),
    );
    group.elect(M1);
    expect(group.member(M1).status).toMatchObject({ role: "follower", term: 2 });
    group.elect(M1);
    expect(group.member(M1).status).toMatchObject({ role: "leader", term: 3 });
    for (const { store } of group.all) expect(termsOf(store.entries)).toEqual([1, 3]);
  });

  test("a candidate gives way to the leader of its term and takes over its log", () => {
    const group = RaftGroup.of(3).isolate(M1);
    group.member(M1).losePatience();
    group.elect(M3).member(M3).propose("x");
    group.heal().exchange().beat(M3);
    expect(group.member(M1).status).toMatchObject({
      role: "follower",
      term: 1,
      leaderId: M3,
      commitIndex: 2,
    });
    expect(group.member(M1).store.entries).toEqual(group.member(M3).store.entries);
  });

  test("a member whose term lags can still help to finish an election", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3).elect(M2).elect(M1);
    expect(group.member(M3).status.term).toBe(1 as Term);
    group.heal().isolate(M1).elect(M2);
    expect(group.member(M2).status).toMatchObject({ role: "leader", term: 4 });
    expect(group.member(M3).status).toMatchObject({ role: "follower", term: 4, leaderId: M2 });
  });

  test("after a split vote the next one is won", () => {
    const group = RaftGroup.of(3, { integer: (min) => min })
      .elect(M1)
      .isolate(M1);
    const [second, third] = [group.member(M2), group.member(M3)];
    second.tick(TIMING.electionTicksMin);
    third.tick(TIMING.electionTicksMin);
    // Both ask, both hear that they would win, and both vote for themselves.
    second.tick();
    third.tick();
    second.receive(M3, 2, { type: "pre-vote-response", isGranted: true });
    third.receive(M2, 2, { type: "pre-vote-response", isGranted: true });
    second.receive(M3, 2, { type: "vote-response", isGranted: false });
    third.receive(M2, 2, { type: "vote-response", isGranted: false });
    expect(group.roles.slice(1)).toEqual(["m2 candidate 2", "m3 candidate 2"]);
    for (const bench of [second, third]) bench.take();
    group.elect(M2);
    expect(second.status).toMatchObject({ role: "leader", term: 3 });
    expect(third.status).toMatchObject({ role: "follower", term: 3, leaderId: M2 });
  });
});

describe("patience", () => {
  test("is spread evenly between its limits", () => {
    const random = new SeededRandom(7);
    const counts = new Map<number, number>();
    const draws = 2_000;
    for (let draw = 0; draw < draws; draw += 1) {
      const bench = new Bench({ integer: (min, max) => random.integer(min, max) });
      let ticks = 0;
      for (; bench.status.role === "follower"; ticks += 1) bench.engine.tick();
      counts.set(ticks, (counts.get(ticks) ?? 0) + 1);
    }
    const fair = draws / (electionTicksMax - electionTicksMin);
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual(
      Array.from({ length: electionTicksMax - electionTicksMin }, (_, at) => electionTicksMin + 1 + at),
    );
    for (const count of counts.values()) expect(Math.abs(count - fair) / fair).toBeLessThan(0.25);
  });

  test.each(["followers", "candidates"])("of five %s mostly one alone runs out first", (kind) => {
    const random = new SeededRandom(11);
    const rounds = 500;
    let conflicts = 0;
    for (let round = 0; round < rounds; round += 1) {
      const ticks = [M1, M2, M3, M4, M5].map((member) => {
        const voters = [M1, M2, M3, M4, M5];
        const bench = new Bench({ id: member, voters, integer: (min, max) => random.integer(min, max) });
        if (kind === "candidates") bench.tick(electionTicksMax);
        const first = bench.status.role;
        bench.take();
        let count = 0;
        for (; bench.status.role === first && bench.takeOf("pre-vote").length === 0; count += 1) bench.tick();
        return count;
      });
      const least = Math.min(...ticks);
      if (ticks.filter((count) => count === least).length > 1) conflicts += 1;
    }
    expect(conflicts / rounds).toBeLessThan(0.3);
  });

  test.each([
    { timing: { heartbeatTicks: 0 }, complaint: "a heartbeat takes at least one tick" },
    { timing: { heartbeatTicks: 10 }, complaint: "leaders beat faster than followers lose patience" },
    { timing: { electionTicksMax: 10 }, complaint: "there is room for chance between the patience limits" },
  ])("with limits that cannot work is refused at start: $complaint", ({ timing, complaint }) => {
    expect(() => stateOf({ ...TIMING, ...timing })).toThrow(complaint);
  });

  test("begins anew for who gave its vote: the candidate gets the time to win", () => {
    const bench = new Bench({ term: 2 }).tick(electionTicksMin);
    bench.receive(M2, 2, VOTE);
    expect(bench.takeOf("vote-response")).toMatchObject([{ isGranted: true }]);
    expect(bench.tick(electionTicksMin).status.role).toBe("follower");
    expect(bench.tick().status.role).toBe("pre-candidate");
  });

  test("does not begin anew for who refused it", () => {
    const bench = new Bench({ term: 2, entries: logOf(1, 2) }).tick(electionTicksMin);
    bench.receive(M2, 2, { ...VOTE, last: id(1, 1) });
    expect(bench.takeOf("vote-response")).toMatchObject([{ isGranted: false }]);
    expect(bench.tick().status.role).toBe("pre-candidate");
  });

  test("never ends while a leader is heard, by beats or by appends", () => {
    const bench = new Bench({ term: 1 });
    for (let round = 0; round < 30; round += 1) {
      if (round % 2 === 0) bench.heartbeat(M2, 1);
      else bench.append(M2, 1, [0, 0], []);
      bench.tick(electionTicksMin);
    }
    expect(bench.hasSent("pre-vote")).toBe(false);
    expect(bench.tick().hasSent("pre-vote")).toBe(true);
  });
});

describe("the roles", () => {
  const bringTo: Record<EngineStatus["role"], () => Bench> = {
    follower: () => new Bench(),
    "pre-candidate": () => new Bench().losePatience(),
    candidate: () => new Bench().becomeCandidate(),
    leader: () => new Bench().becomeLeader(),
  };
  const ROLES = Object.keys(bringTo) as EngineStatus["role"][];

  test.each(ROLES)(
    "a vote that the old leader wants is given in each role, and makes a follower: %s",
    (role) => {
      const bench = bringTo[role]();
      bench.take();
      bench.receive(M2, 7, { ...VOTE, isTransfer: true });
      expect(bench.take()).toMatchObject([{ type: "vote-response", term: 7, isGranted: true }]);
      expect(bench.status).toMatchObject({ role: "follower", term: 7, leaderId: null });
      expect(bench.store.hard).toMatchObject({ term: 7, vote: M2 });
    },
  );

  test.each(["pre-candidate", "candidate"] as const)(
    "a pre-vote is given by a %s, and changes nothing",
    (role) => {
      const bench = bringTo[role]();
      const { role: kind, term } = bench.tick(electionTicksMin).status;
      bench.take();
      bench.receive(M2, 7, { ...VOTE, type: "pre-vote" });
      expect(bench.take()).toMatchObject([{ type: "pre-vote-response", term: 7, isGranted: true }]);
      expect(bench.status).toMatchObject({ role: kind, term });
    },
  );

  test.each(
    ROLES.flatMap((role) => [
      { role, type: "append", leaderId: M2 } as const,
      { role, type: "heartbeat", leaderId: M2 } as const,
      { role, type: "append-response", leaderId: null } as const,
      { role, type: "vote", leaderId: null } as const,
    ]),
  )("a later term makes a follower of a $role that hears of it by $type", ({ role, type, leaderId }) => {
    const bench = bringTo[role]();
    const bodies: Record<typeof type, Body> = {
      append: { type: "append", previous: id(0, 0), entries: [], commit: 0 as LogIndex },
      heartbeat: { type: "heartbeat", commit: 0 as LogIndex, round: 1 },
      "append-response": { type: "append-response", index: 0 as LogIndex, rejection: null },
      vote: { ...VOTE, isTransfer: true },
    };
    bench.receive(M2, 7, bodies[type]);
    expect(bench.status).toMatchObject({ role: "follower", term: 7, leaderId });
  });

  test.each(["append", "heartbeat"] as const)(
    "a candidate follows whose %s of its own term it hears",
    (type) => {
      const bench = new Bench().becomeCandidate();
      if (type === "append") bench.append(M3, 1, [0, 0], [entry(1, 1)]);
      else bench.heartbeat(M3, 1);
      expect(bench.status).toMatchObject({ role: "follower", term: 1, leaderId: M3 });
      // And is patient again from the start.
      expect(bench.tick(electionTicksMin).status.role).toBe("follower");
    },
  );

  test.each([
    { type: "append-response", index: 9 as LogIndex, rejection: null },
    { type: "heartbeat-response", round: 9 },
    { type: "vote-response", isGranted: true },
    { type: "pre-vote-response", isGranted: false },
    { type: "timeout-now" },
  ] as const)("a $type of an old term is dropped without an answer", (body) => {
    for (const role of ROLES) {
      const bench = bringTo[role]();
      bench.heartbeat(M2, 5);
      bench.take();
      const before = bench.status;
      expect(bench.receive(M3, 4, body).take()).toEqual([]);
      expect(bench.status).toEqual(before);
    }
  });

  test("a leader asks for no votes, whoever tells it to", () => {
    const bench = new Bench({ voters: [M1] }).becomeLeader();
    const before = bench.status;
    bench.engine.campaign();
    bench.settle().receive(M1, 1, { type: "timeout-now" });
    expect(bench.status).toEqual(before);
    expect(bench.take()).toEqual([]);
  });

  test("a leader never becomes a candidate, and nobody leads without having been one", () => {
    const state = (role: Role): EngineState => {
      const start = stateOf();
      start.role = role;
      return start;
    };
    const votes = new Map<MemberId, boolean>();
    const leading = stateOf();
    leading.role = { kind: "candidate", votes };
    becomeLeader(leading);
    expect(() => becomePreCandidate(leading)).toThrow("a leader does not campaign");
    expect(() => becomeCandidate(leading)).toThrow("a leader does not campaign");
    expect(() => becomeLeader(leading)).toThrow("only a candidate becomes leader");
    expect(() => becomeLeader(state({ kind: "follower" }))).toThrow("only a candidate becomes leader");
    expect(() => becomeLeader(state({ kind: "pre-candidate", votes }))).toThrow("only a candidate");
    expect(() => becomeFollower(leading, -1 as Term, null)).toThrow("terms never go back");
  });
});

describe("what counts for a candidate", () => {
  test("its own vote, only once that is durable", () => {
    const bench = new Bench().losePatience();
    bench.step(M2, 1, { type: "pre-vote-response", isGranted: true });
    bench.step(M2, 1, { type: "vote-response", isGranted: true });
    expect(bench.status.role).toBe("candidate");
    expect(bench.settle().status.role).toBe("leader");
  });

  test("not its own vote for an election that was lost before that was durable", () => {
    const bench = new Bench().losePatience();
    bench.step(M2, 1, { type: "pre-vote-response", isGranted: true });
    bench.step(M2, 1, { type: "vote-response", isGranted: true });
    bench.step(M3, 1, { type: "heartbeat", commit: 0 as LogIndex, round: 1 });
    expect(bench.settle().status).toMatchObject({ role: "follower", leaderId: M3 });
  });

  test("not what it was promised before: who begins anew begins with no votes", () => {
    const bench = new Bench({ voters: [M1, M2, M3, M4, M5] }).losePatience();
    bench.receive(M2, 1, { type: "pre-vote-response", isGranted: true });
    bench.tick(electionTicksMin + 1);
    bench.receive(M3, 1, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("pre-candidate");
    bench.receive(M4, 1, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("candidate");
  });

  test("a majority of its latest configuration, committed or not", () => {
    const entries = [configEntry(1, 1, [M1, M2, M3]), configEntry(2, 1, [M1, M2, M3, M4, M5])];
    const bench = new Bench({ entries, commit: 1 }).losePatience();
    expect(bench.takeOf("pre-vote").map(({ to }) => to)).toEqual([M2, M3, M4, M5]);
    bench.receive(M2, 2, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("pre-candidate");
    bench.receive(M5, 2, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("candidate");
  });

  test("a majority of both halves while the configuration is joint", () => {
    const entries = [configEntry(1, 1, [M1, M4, M5], { outgoing: [M1, M2, M3] })];
    const bench = new Bench({ entries }).losePatience();
    for (const from of [M4, M5]) bench.receive(from, 2, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("pre-candidate");
    bench.receive(M2, 2, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("candidate");
  });

  test("not the votes of members that do not vote", () => {
    const bench = new Bench({ learners: [M4, M5] }).losePatience();
    for (const from of [M4, M5]) bench.receive(from, 1, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("pre-candidate");
  });

  test.each([
    { first: true, second: false },
    { first: false, second: true },
  ])("the first answer of each voter: $first, then $second", ({ first, second }) => {
    const bench = new Bench({ voters: [M1, M2, M3, M4, M5] }).becomeCandidate();
    for (const isGranted of [first, second]) bench.receive(M2, 1, { type: "vote-response", isGranted });
    bench.receive(M3, 1, { type: "vote-response", isGranted: true });
    expect(bench.status.role).toBe(first ? "leader" : "candidate");
  });

  test("no vote against loyalty: it asks for that only where the old leader wants it", () => {
    const bench = new Bench().losePatience();
    expect(bench.takeOf("pre-vote").map(({ isTransfer }) => isTransfer)).toEqual([false, false]);
    bench.receive(M2, 1, { type: "pre-vote-response", isGranted: true });
    expect(bench.takeOf("vote").map(({ isTransfer }) => isTransfer)).toEqual([false, false]);
  });
});

function stateOf(timing = TIMING): EngineState {
  const store = new MemoryLogStore();
  const { floor, last, hard, applied, promotableFrom } = store.load();
  return new EngineState({
    id: M1,
    log: new RaftLog(store, { floor, last, commit: hard.commit, applied }, 10),
    membership: new Membership({ index: 0 as LogIndex, config: config([M1, M2, M3]) }),
    promotableFrom,
    timing,
    limits: DEFAULT_LIMITS,
    random: { integer: (min) => min },
    hard,
  });
}
