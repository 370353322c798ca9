import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { type ConfigTarget, planConfig } from "../../../src/raft/engine/config-change.ts";
import type { ClusterConfig } from "../../../src/raft/engine/message.ts";
import { hasQuorum } from "../../../src/raft/engine/quorum.ts";
import { Bench, config, M1, M2, M3, M4, M5, TIMING } from "../../support/raft-bench.ts";
import { RaftGroup, SEVEN } from "../../support/raft-group.ts";

/** Leads, and its followers hold all it has. */
function leaderOf(voters: readonly MemberId[], learners: readonly MemberId[] = []): Bench {
  return new Bench({ voters, learners }).becomeLeader().acknowledgeAll();
}

describe("one voter more or less", () => {
  test("counts from the moment it is appended: its own commit needs the new member", () => {
    const bench = leaderOf([M1], [M2]);
    expect(bench.changeConfig([M1, M2])).toMatchObject({ ok: true, id: { index: 2, term: 1 } });
    expect(bench.status).toMatchObject({ config: config([M1, M2]), isConfigPending: true, commitIndex: 1 });
    bench.acknowledge(M2, 2);
    expect(bench.status).toMatchObject({ isConfigPending: false, commitIndex: 2 });
  });

  test("a new member gets the whole log, from the first entry on", () => {
    const bench = leaderOf([M1]);
    bench.changeConfig([M1], [M2]);
    const joiner = new Bench({ id: M2, voters: [] });
    new RaftGroup(bench, joiner).exchange();
    expect(joiner.store.entries).toEqual(bench.store.entries);
    expect(joiner.status).toMatchObject({ config: config([M1], [M2]), commitIndex: 2 });
  });

  test("one change at a time", () => {
    const bench = leaderOf([M1, M2, M3], [M4, M5]);
    expect(bench.changeConfig([M1, M2, M3, M4], [M5])).toMatchObject({ ok: true });
    const next = (): unknown => bench.changeConfig([M1, M2, M3, M4, M5]);
    expect(next()).toEqual({ ok: false, reason: "config-pending", leaderId: M1 });
    bench.acknowledgeAll();
    expect(next()).toMatchObject({ ok: true });
  });

  test("not before this leader has committed an entry of its own term (raft-dev, 2015)", () => {
    const bench = new Bench({ voters: [M1, M2, M3, M4], learners: [M5] }).becomeLeader();
    expect(bench.changeConfig([M1, M2, M3, M4, M5])).toMatchObject({ ok: false, reason: "not-ready" });
    bench.acknowledgeAll();
    expect(bench.changeConfig([M1, M2, M3, M4, M5])).toMatchObject({ ok: true });
  });

  test("what is so already is not asked for again", () => {
    const bench = leaderOf([M1, M2, M3], [M4]);
    expect(bench.changeConfig([M3, M2, M1, M1], [M4])).toEqual({ ok: true, id: null });
    expect(bench.status.lastIndex).toBe(1 as LogIndex);
  });

  test("only a leader changes the group; others say who leads", () => {
    const bench = new Bench();
    expect(bench.changeConfig([M1, M2])).toEqual({ ok: false, reason: "not-leader", leaderId: null });
  });

  test("what is known of the others is kept, and a learner that becomes a voter begins nothing anew", () => {
    const bench = leaderOf([M1, M2, M3], [M4]);
    bench.changeConfig([M1, M2, M3, M4], [M5]);
    expect(bench.status.followers).toMatchObject([
      { id: M2, matchIndex: 1, state: "replicate" },
      { id: M3, matchIndex: 1, state: "replicate" },
      { id: M4, matchIndex: 1, state: "replicate" },
      { id: M5, matchIndex: 0, state: "probe", isActive: true },
    ]);
  });
});

describe("which changes take one step, and which a joint configuration", () => {
  const joint = (voters: readonly MemberId[], outgoing: readonly MemberId[], more = {}): ClusterConfig => ({
    ...config(voters),
    outgoing,
    ...more,
  });

  test.each([
    { name: "a voter more", voters: [M1, M2, M3, M4], learners: [M5], plan: config([M1, M2, M3, M4], [M5]) },
    { name: "a voter less", voters: [M1, M2], learners: [M4, M5], plan: config([M1, M2], [M4, M5]) },
    { name: "the leader less", voters: [M2, M3], learners: [M4, M5], plan: config([M2, M3], [M4, M5]) },
    {
      name: "a voter that becomes a learner",
      voters: [M1, M2],
      learners: [M3, M4, M5],
      plan: config([M1, M2], [M3, M4, M5]),
    },
    { name: "a learner less", voters: [M1, M2, M3], learners: [M4], plan: config([M1, M2, M3], [M4]) },
    { name: "no learners any more", voters: [M1, M2, M3], learners: [], plan: config([M1, M2, M3]) },
    {
      name: "a voter more, who is named as a learner, too",
      voters: [M1, M2, M3, M4],
      learners: [M4, M5],
      plan: config([M1, M2, M3, M4], [M5]),
    },
    {
      name: "two voters more",
      voters: [M1, M2, M3, M4, M5],
      learners: [],
      plan: joint([M1, M2, M3, M4, M5], [M1, M2, M3]),
    },
    {
      name: "one exchanged",
      voters: [M1, M2, M4],
      learners: [M5],
      plan: joint([M1, M2, M4], [M1, M2, M3], { learners: [M5] }),
    },
    {
      name: "one exchanged that stays as a learner",
      voters: [M1, M2, M4],
      learners: [M3, M5],
      plan: joint([M1, M2, M4], [M1, M2, M3], { learners: [M5], learnersNext: [M3] }),
    },
    {
      name: "two voters less",
      voters: [M1],
      learners: [M4, M5],
      plan: joint([M1], [M1, M2, M3], { learners: [M4, M5] }),
    },
  ])("$name", ({ voters, learners, plan }) => {
    const bench = leaderOf([M1, M2, M3], [M4, M5]);
    expect(bench.changeConfig(voters, learners)).toMatchObject({ ok: true, id: { index: 2, term: 1 } });
    expect(bench.status.config).toEqual(plan);
  });

  test.each([
    { name: "nobody", voters: [], learners: [M1, M2, M3], reason: "no-voters" },
    {
      name: "more than seven",
      voters: [...SEVEN, "m8" as MemberId],
      learners: [],
      reason: "too-many-voters",
    },
  ])("never $name", ({ voters, learners, reason }) => {
    const bench = leaderOf([M1, M2, M3], [...SEVEN.slice(3), "m8" as MemberId]);
    expect(bench.changeConfig(voters, learners)).toMatchObject({ ok: false, reason });
    expect(bench.status.lastIndex).toBe(1 as LogIndex);
  });

  test("up to seven voters", () => {
    const bench = leaderOf([M1, M2, M3], SEVEN.slice(3));
    expect(bench.changeConfig(SEVEN)).toMatchObject({ ok: true });
  });
});

describe("a change after which nothing could be agreed", () => {
  test("is refused: too few of the voters to be are heard", () => {
    const bench = leaderOf([M1, M2, M3]);
    for (let tick = 0; tick < TIMING.electionTicksMin; tick += 1) bench.tick().answer(M2, 1);
    expect(bench.changeConfig([M1, M3])).toMatchObject({ ok: false, reason: "quorum-unreachable" });
    expect(bench.changeConfig([M1, M2])).toMatchObject({ ok: true });
  });

  test("is refused: a new voter is a learner first, and has caught up", () => {
    const bench = leaderOf([M1, M2, M3]);
    expect(bench.changeConfig([M1, M2, M3, M4])).toMatchObject({ ok: false, reason: "not-caught-up" });
    bench.changeConfig([M1, M2, M3], [M4]);
    bench.acknowledge(M2, bench.status.lastIndex);
    expect(bench.changeConfig([M1, M2, M3, M4])).toMatchObject({ ok: false, reason: "not-caught-up" });
    bench.answer(M4, 1);
    expect(bench.changeConfig([M1, M2, M3, M4])).toMatchObject({ ok: false, reason: "not-caught-up" });
    bench.acknowledge(M4, bench.status.lastIndex);
    expect(bench.changeConfig([M1, M2, M3, M4])).toMatchObject({ ok: true });
  });

  test("is not one that takes silent members out", () => {
    const bench = leaderOf([M1, M2, M3, M4, M5]);
    for (let tick = 0; tick < TIMING.electionTicksMin; tick += 1) bench.tick().answer(M2, 1).answer(M3, 1);
    expect(bench.changeConfig([M1, M2, M3])).toMatchObject({ ok: true });
    bench.acknowledge(M2, 2).acknowledge(M3, 2);
    expect(bench.status.config).toEqual(config([M1, M2, M3]));
    expect(bench.acknowledge(M2, 3).status.isConfigPending).toBe(false);
  });
});

describe("a joint configuration", () => {
  /** Leads {m1 m2 m3} on the way to {m1 m4 m5}; m2 is to stay as a learner. */
  function jointLeader(): Bench {
    const bench = leaderOf([M1, M2, M3], [M4, M5]);
    bench.changeConfig([M1, M4, M5], [M2]);
    bench.take();
    return bench;
  }

  test("is left by itself once it is committed, by an entry that changes nothing else", () => {
    const bench = jointLeader();
    bench.acknowledge(M4, 2).acknowledge(M2, 2);
    expect(bench.status).toMatchObject({ commitIndex: 2, lastIndex: 3, isConfigPending: true });
    expect(bench.status.config).toEqual(config([M1, M4, M5], [M2]));
    expect(bench.store.entries.map(({ kind }) => kind)).toEqual(["noop", "config", "config"]);
    bench.acknowledge(M4, 3);
    expect(bench.status).toMatchObject({ isConfigPending: false, commitIndex: 3, lastIndex: 3 });
  });

  test("is not left before it is committed", () => {
    const bench = jointLeader();
    bench.acknowledge(M4, 2).acknowledge(M5, 2).tick(TIMING.heartbeatTicks);
    expect(bench.status).toMatchObject({ commitIndex: 1, lastIndex: 2 });
  });

  test("allows no other change until it is left and that is committed", () => {
    const bench = jointLeader();
    const other = (): unknown => bench.changeConfig([M1, M4], [M2, M5]);
    expect(other()).toMatchObject({ ok: false, reason: "config-pending" });
    bench.acknowledge(M2, 2).acknowledge(M4, 2);
    expect(other()).toMatchObject({ ok: false, reason: "config-pending" });
    bench.acknowledge(M4, 3);
    expect(other()).toMatchObject({ ok: true });
  });

  test("is where the wish already leads: asking again changes nothing", () => {
    const bench = jointLeader();
    expect(bench.changeConfig([M1, M5, M4], [M2])).toEqual({ ok: true, id: null });
    expect(bench.status.lastIndex).toBe(2 as LogIndex);
  });

  test("counts who is to become a learner as a voter until it is left, and keeps what is known of it", () => {
    const bench = jointLeader();
    expect(bench.status.config.learnersNext).toEqual([M2]);
    bench.acknowledge(M4, 2).acknowledge(M2, 2);
    expect(bench.status.followers.map(({ id, matchIndex }) => `${id} ${matchIndex}`)).toEqual([
      "m2 2",
      "m4 2",
      "m5 1",
    ]);
  });

  test("is finished by the next leader, after it has committed an entry of its own term", () => {
    const group = jointGroup().isolate(M1);
    group.elect(M4);
    const next = group.member(M4);
    expect(next.status).toMatchObject({ role: "leader", term: 2 });
    expect(next.status.config).toEqual(config([M1, M4, M5], [M2]));
    expect(next.status.isConfigPending).toBe(false);
    group.heal().beat(M4);
    for (const id of [M1, M2, M5]) expect(group.member(id).status.config).toEqual(next.status.config);
  });

  test("is taken back with its entry, if the next leader does not have it", () => {
    const group = jointGroup().isolate(M1, M5);
    group.elect(M2);
    expect(group.member(M2).status).toMatchObject({ role: "leader", config: config([M1, M2, M3], [M4, M5]) });
    group.heal().beat(M2);
    expect(group.member(M1).status.config).toEqual(config([M1, M2, M3], [M4, M5]));
  });

  test("survives a restart of everybody, and is left then", () => {
    const group = jointGroup().heal();
    for (const { id } of group.all) group.restart(id);
    expect(group.member(M1).status.config.outgoing).toEqual([M1, M2, M3]);
    group.elect(M1);
    expect(group.member(M1).status).toMatchObject({
      config: config([M1, M4, M5], [M2]),
      isConfigPending: false,
    });
  });

  test("elects nobody with one half alone", () => {
    const group = jointGroup().heal().isolate(M2, M3);
    group.elect(M4);
    expect(group.member(M4).status).toMatchObject({ role: "pre-candidate", term: 1 });
    expect(group.heal().elect(M4).member(M4).status.role).toBe("leader");
  });

  /** M1, M4 and M5 hold the joint entry; M2 and M3 do not, so it is not committed. */
  function jointGroup(): RaftGroup {
    const options = { voters: [M1, M2, M3], learners: [M4, M5], integer: (_min: number, max: number) => max };
    const group = new RaftGroup(...[M1, M2, M3, M4, M5].map((id) => new Bench({ ...options, id })));
    group.elect(M1).cut(M1, M2).cut(M1, M3);
    group.member(M1).changeConfig([M1, M4, M5], [M2]);
    return group.exchange();
  }
});

describe("a leader that leaves", () => {
  test("leads until that is committed, without counting itself, and then hands over", () => {
    const bench = leaderOf([M1, M2, M3]);
    bench.changeConfig([M2, M3]);
    bench.acknowledge(M2, 2);
    expect(bench.status).toMatchObject({ role: "leader", commitIndex: 1 });
    bench.take();
    bench.acknowledge(M3, 2);
    expect(bench.status).toMatchObject({ role: "leader", commitIndex: 2, isTransferring: true });
    expect(bench.takeOf("timeout-now")).toHaveLength(1);
  });

  test("steps down even if nobody takes over, and stands no more", () => {
    const bench = leaderOf([M1, M2, M3]);
    bench.changeConfig([M2, M3]);
    bench.acknowledge(M2, 2).acknowledge(M3, 2);
    for (let tick = 0; tick < TIMING.electionTicksMin; tick += 1) bench.tick().answer(M2, 1).answer(M3, 1);
    expect(bench.status).toMatchObject({ role: "follower", term: 1 });
    expect(bench.tick(5 * TIMING.electionTicksMax).status).toMatchObject({ role: "follower", term: 1 });
  });

  test.each([
    { name: "is removed from three", count: 3, voters: [M2, M3], learners: [] },
    { name: "is removed from two", count: 2, voters: [M2], learners: [] },
    { name: "becomes a learner", count: 3, voters: [M2, M3], learners: [M1] },
    { name: "is exchanged for another", count: 3, voters: [M2, M3, M4], learners: [] },
  ])("leaves a group that works: it $name", ({ count, voters, learners }) => {
    const group = RaftGroup.of(count, { voters: SEVEN.slice(0, count), learners: [M4] });
    group.add(new Bench({ id: M4, voters: SEVEN.slice(0, count), learners: [M4] }));
    group.elect(M1);
    expect(group.member(M1).changeConfig(voters, learners)).toMatchObject({ ok: true });
    // The next leader has no reason to speak to it; it learns from the others when it beats.
    group.exchange().beat(M1);
    const [leader] = group.all.filter(({ status }) => status.role === "leader");
    expect(leader?.status).toMatchObject({ term: 2, isReady: true, config: config(voters, learners) });
    expect(voters).toContain(leader?.id as MemberId);
    expect(group.member(M1).status.role).toBe("follower");
    expect(leader?.propose("x")).toMatchObject({ ok: true });
    group.exchange();
    expect(leader?.status.commitIndex).toBe(leader?.status.lastIndex as LogIndex);
  });

  test("does not come back by a restart", () => {
    const group = RaftGroup.of(3).elect(M1);
    group.member(M1).changeConfig([M2, M3]);
    group.exchange();
    const again = group.restart(M1);
    expect(again.status.config).toEqual(config([M2, M3]));
    expect(again.tick(5 * TIMING.electionTicksMax).status.role).toBe("follower");
    expect(again.take()).toEqual([]);
  });

  test("says nothing more in the turn in which it steps down", () => {
    const bench = leaderOf([M1, M2, M3, M4]);
    bench.changeConfig([M2, M3, M4]);
    bench.acknowledge(M2, 2).acknowledge(M3, 2);
    for (let tick = 1; tick < TIMING.electionTicksMin; tick += 1) bench.tick().answer(M2, 1).answer(M3, 1);
    bench.take();
    // It would go on: this one lacks an entry.
    bench.step(M4, 1, { type: "heartbeat-response", round: 1 });
    bench.engine.tick();
    expect(bench.settle().status.role).toBe("follower");
    expect(bench.takeOf("append")).toEqual([]);
  });
});

describe("a member that is removed", () => {
  test("gets nothing any more, and does not make the group elect", () => {
    const group = RaftGroup.of(3).elect(M1);
    group.member(M1).changeConfig([M1, M2]);
    group.exchange();
    const removed = group.member(M3);
    for (let round = 0; round < 10; round += 1) {
      removed.tick(TIMING.electionTicksMax);
      group.exchange().beat(M1);
    }
    expect(group.roles.slice(0, 2)).toEqual(["m1 leader 1", "m2 follower 1"]);
    expect(group.member(M1).status.followers.map(({ id }) => id)).toEqual([M2]);
  });

  test("and comes back under another id is a new member", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3);
    group.member(M1).changeConfig([M1, M2], [M4]);
    group
      .add(new Bench({ id: M4, voters: [] }))
      .heal()
      .exchange();
    expect(group.member(M1).changeConfig([M1, M2, M4])).toMatchObject({ ok: true });
    group.exchange();
    expect(group.member(M4).status.config).toEqual(config([M1, M2, M4]));
  });
});

describe("any change from anywhere", () => {
  const members = fc.uniqueArray(fc.constantFrom(...SEVEN), { minLength: 1 });
  const targets = fc.record({ voters: members, learners: fc.uniqueArray(fc.constantFrom(...SEVEN)) });

  test("reaches its target, and on the way each two configurations that follow on have quorums that meet", () => {
    fc.assert(
      fc.property(
        targets,
        targets,
        fc.subarray([...SEVEN]),
        fc.subarray([...SEVEN]),
        (start, target, left, right) => {
          const first = config(
            start.voters,
            start.learners.filter((id) => !start.voters.includes(id)),
          );
          const steps = [first, ...pathTo(first, target)];
          const last = steps.at(-1);
          expect(new Set(last?.voters)).toEqual(new Set(target.voters));
          expect(new Set(last?.learners)).toEqual(
            new Set(target.learners.filter((id) => !target.voters.includes(id))),
          );
          for (const [at, before] of steps.slice(0, -1).entries()) {
            const after = steps[at + 1] as ClusterConfig;
            const isBoth =
              hasQuorum(before, (id) => left.includes(id)) && hasQuorum(after, (id) => right.includes(id));
            if (isBoth) expect(left.some((id) => right.includes(id))).toBe(true);
          }
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test("makes nobody a voter and a learner at once", () => {
    fc.assert(
      fc.property(targets, targets, (start, target) => {
        const first = config(
          start.voters,
          start.learners.filter((id) => !start.voters.includes(id)),
        );
        for (const step of pathTo(first, target)) {
          const { voters, outgoing, learners, learnersNext } = step;
          for (const id of learners) expect([...voters, ...outgoing]).not.toContain(id);
          for (const id of learnersNext) expect(outgoing).toContain(id);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("ends in the same configuration, whether it was made in one change or one member at a time", () => {
    fc.assert(
      fc.property(members, members, (from, to) => {
        const [least = M1] = to;
        let current = config([...new Set([least, ...from])]);
        const step = (voters: readonly MemberId[]): void => {
          for (const next of pathTo(current, { voters, learners: [] })) current = next;
        };
        for (const id of to) step([...new Set([...current.voters, id])]);
        for (const id of from) if (!to.includes(id)) step(current.voters.filter((other) => other !== id));
        const whole = pathTo(config(from), { voters: to, learners: [] }).at(-1) ?? config(from);
        expect(new Set(current.voters)).toEqual(new Set(whole.voters));
      }),
      { numRuns: 1_000 },
    );
  });

  test("is carried out by a group, change after change", () => {
    fc.assert(
      fc.property(fc.array(targets, { minLength: 1, maxLength: 4 }), (wishes) => {
        const options = {
          voters: [M1],
          learners: SEVEN.slice(1),
          integer: (_min: number, max: number) => max,
        };
        const group = new RaftGroup(...SEVEN.map((id) => new Bench({ ...options, id }))).elect(M1);
        for (const { voters, learners } of wishes) {
          const leader = group.all.find(({ status }) => status.role === "leader");
          expect(leader?.status.isReady).toBe(true);
          // Everybody goes on receiving, so that everybody can be wished for again.
          const others = SEVEN.filter((id) => !voters.includes(id) && !learners.includes(id));
          expect(leader?.changeConfig(voters, [...learners, ...others])).toMatchObject({ ok: true });
          group.exchange();
          const next = group.all.find(({ status }) => status.role === "leader");
          expect(new Set(next?.status.config.voters)).toEqual(new Set(voters));
          expect(next?.status).toMatchObject({ isConfigPending: false });
          expect(voters).toContain(next?.id as MemberId);
        }
      }),
      { numRuns: 200 },
    );
  });
});

/** Every configuration on the way, without the first. */
function pathTo(current: ClusterConfig, target: ConfigTarget): readonly ClusterConfig[] {
  const planned = planConfig(current, target);
  if (planned === null) return [];
  if (planned.outgoing.length === 0) return [planned];
  const { voters, learners, learnersNext } = planned;
  return [planned, { voters, outgoing: [], learners: [...learners, ...learnersNext], learnersNext: [] }];
}
