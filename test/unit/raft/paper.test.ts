import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import type { Entry } from "../../../src/raft/engine/message.ts";
import { Bench, entry, id, logOf, M1, M2, M3, M4, M5, TIMING, termsOf } from "../../support/raft-bench.ts";

// One test per sentence of the Raft paper (Ongaro and Ousterhout, extended version). Sections in the names.

const VOTE_FROM_M2 = { type: "vote", last: id(9, 9), isTransfer: true } as const;

describe("§5.1 terms", () => {
  test("if one server's term is smaller than the other's, it updates to the larger value", () => {
    const follower = new Bench({ term: 1 });
    follower.append(M2, 2, [0, 0], []);
    expect(follower.status).toMatchObject({ term: 2, role: "follower", leaderId: M2 });
    expect(follower.store.hard).toMatchObject({ term: 2 });
  });

  test("if a candidate or leader discovers that its term is out of date, it reverts to follower", () => {
    const candidate = new Bench().becomeCandidate();
    expect(candidate.status.role).toBe("candidate");
    candidate.append(M2, 2, [0, 0], []);
    expect(candidate.status).toMatchObject({ term: 2, role: "follower", leaderId: M2 });

    const leader = new Bench().becomeLeader();
    leader.receive(M3, 2, { type: "heartbeat-response", round: 0 });
    expect(leader.status).toMatchObject({ term: 2, role: "follower", leaderId: null });
  });

  test("a server that receives a request with a stale term rejects it and says its own term", () => {
    const follower = new Bench({ term: 5 });
    follower.append(M2, 4, [0, 0], [entry(1, 4)]);
    expect(follower.status.lastIndex).toBe(0 as LogIndex);
    expect(follower.take()).toMatchObject([{ type: "heartbeat-response", to: M2, term: 5, round: 0 }]);
    follower.receive(M2, 4, VOTE_FROM_M2);
    expect(follower.take()).toMatchObject([{ type: "vote-response", term: 5, isGranted: false }]);
  });
});

describe("§5.2 leader election", () => {
  test("when servers start up, they begin as followers", () => {
    expect(new Bench().status).toMatchObject({ role: "follower", leaderId: null });
  });

  test("leaders send periodic heartbeats to all followers", () => {
    const leader = new Bench().becomeLeader().acknowledgeAll();
    leader.take();
    leader.tick(TIMING.heartbeatTicks);
    expect(leader.takeOf("heartbeat").map(({ to }) => to)).toEqual([M2, M3]);
  });

  test("a follower that receives no communication begins an election: it asks whether it would win, then votes for itself", () => {
    const follower = new Bench({ term: 3 });
    follower.losePatience();
    expect(follower.status).toMatchObject({ role: "pre-candidate", term: 3 });
    expect(follower.takeOf("pre-vote").map(({ to, term }) => `${to} ${term}`)).toEqual(["m2 4", "m3 4"]);
    follower.receive(M2, 4, { type: "pre-vote-response", isGranted: true });
    expect(follower.status).toMatchObject({ role: "candidate", term: 4 });
    expect(follower.store.hard).toMatchObject({ term: 4, vote: M1 });
    expect(follower.takeOf("vote").map(({ to }) => to)).toEqual([M2, M3]);
  });

  test("a candidate that neither wins nor loses starts a new election", () => {
    const candidate = new Bench().becomeCandidate();
    candidate.losePatience();
    expect(candidate.status).toMatchObject({ role: "pre-candidate", term: 1 });
    candidate.receive(M3, 2, { type: "pre-vote-response", isGranted: true });
    expect(candidate.status).toMatchObject({ role: "candidate", term: 2 });
  });

  test.each([
    { voters: [M1], votes: {}, role: "leader" },
    { voters: [M1, M2, M3], votes: { m2: true }, role: "leader" },
    { voters: [M1, M2, M3], votes: { m2: true, m3: false }, role: "leader" },
    { voters: [M1, M2, M3], votes: { m2: false }, role: "candidate" },
    { voters: [M1, M2, M3], votes: { m2: false, m3: false }, role: "follower" },
    { voters: [M1, M2, M3, M4, M5], votes: { m2: true, m3: true }, role: "leader" },
    { voters: [M1, M2, M3, M4, M5], votes: { m2: true, m3: false }, role: "candidate" },
    { voters: [M1, M2, M3, M4, M5], votes: { m2: false, m3: false, m4: false }, role: "follower" },
    { voters: [M1, M2, M3, M4, M5], votes: {}, role: "candidate" },
  ])(
    "a candidate wins with the votes of a majority: $votes of $voters.length -> $role",
    ({ voters, votes, role }) => {
      const bench = new Bench({ voters }).becomeCandidate();
      for (const voter of [M2, M3, M4, M5]) {
        const isGranted = (votes as Record<string, boolean>)[voter];
        if (isGranted !== undefined) bench.receive(voter, 1, { type: "vote-response", isGranted });
      }
      expect(bench.status).toMatchObject({ role: role as "leader", term: 1 });
    },
  );

  test("a vote counts once: the same voter twice is no majority", () => {
    const bench = new Bench({ voters: [M1, M2, M3, M4, M5] }).becomeCandidate();
    bench.receive(M2, 1, { type: "vote-response", isGranted: true });
    bench.receive(M2, 1, { type: "vote-response", isGranted: true });
    expect(bench.status.role).toBe("candidate");
  });

  test.each([
    { vote: undefined, from: M2, isGranted: true },
    { vote: undefined, from: M3, isGranted: true },
    { vote: M2, from: M2, isGranted: true },
    { vote: M2, from: M3, isGranted: false },
    { vote: M3, from: M2, isGranted: false },
  ])(
    "each server votes for at most one candidate in a term: voted $vote, asked by $from",
    ({ vote, from, isGranted }) => {
      const voter = new Bench({ term: 1, ...(vote === undefined ? {} : { vote }) });
      voter.receive(from, 1, { type: "vote", last: id(0, 0), isTransfer: true });
      expect(voter.take()).toMatchObject([{ type: "vote-response", to: from, isGranted }]);
      // Durable before it is sent: a restart remembers.
      expect(voter.store.hard.vote).toBe(isGranted ? from : (vote ?? null));
    },
  );

  test("a candidate that hears from a leader of its term returns to follower state", () => {
    const candidate = new Bench().becomeCandidate();
    candidate.receive(M3, 1, { type: "heartbeat", commit: 0 as LogIndex, round: 1 });
    expect(candidate.status).toMatchObject({ role: "follower", term: 1, leaderId: M3 });
  });

  test("election timeouts are chosen at random from a fixed interval", () => {
    const seen = new Set<number>();
    for (let wish = TIMING.electionTicksMin; wish <= TIMING.electionTicksMax; wish += 1) {
      const bench = new Bench({ integer: (min, max) => Math.min(max, Math.max(min, wish)) });
      let ticks = 0;
      for (; bench.status.role === "follower"; ticks += 1) bench.tick();
      seen.add(ticks);
    }
    expect(Math.min(...seen)).toBe(TIMING.electionTicksMin + 1);
    expect(Math.max(...seen)).toBe(TIMING.electionTicksMax);
    expect(seen.size).toBe(TIMING.electionTicksMax - TIMING.electionTicksMin);
  });

  test("each candidate restarts its randomised timeout at the start of an election", () => {
    const drawn: number[] = [];
    const bench = new Bench({
      integer: (min, max) => {
        drawn.push(max - min);
        return min + (drawn.length % 3);
      },
    });
    const before = drawn.length;
    bench.tick(TIMING.electionTicksMax);
    expect(drawn.length).toBeGreaterThan(before);
  });
});

describe("§5.3 log replication", () => {
  test("the leader appends a command to its log, then sends it to each of the others", () => {
    const leader = new Bench().becomeLeader().acknowledgeAll();
    leader.take();
    leader.propose("x");
    expect(leader.status.lastIndex).toBe(2 as LogIndex);
    expect(
      leader.takeOf("append").map(({ to, previous, entries }) => [to, previous, termsOf(entries)]),
    ).toEqual([
      [M2, id(1, 1), [1]],
      [M3, id(1, 1), [1]],
    ]);
  });

  test("an entry is committed once a majority holds it; the leader then applies it and tells the others", () => {
    const leader = new Bench().becomeLeader().acknowledgeAll();
    leader.propose("x");
    expect(leader.status.commitIndex).toBe(1 as LogIndex);
    leader.take();
    leader.acknowledge(M2, 2);
    expect(leader.status).toMatchObject({ commitIndex: 2, appliedIndex: 2 });
    expect(leader.store.commands.map(({ index }) => index)).toEqual([2 as LogIndex]);
    expect(leader.takeOf("append")).toMatchObject([
      { to: M2, entries: [], commit: 2 },
      { to: M3, entries: [], commit: 2 },
    ]);
  });

  test.each([
    { voters: [M1], acks: [], isCommitted: true },
    { voters: [M1, M2], acks: [], isCommitted: false },
    { voters: [M1, M2], acks: [M2], isCommitted: true },
    { voters: [M1, M2, M3], acks: [], isCommitted: false },
    { voters: [M1, M2, M3], acks: [M2], isCommitted: true },
    { voters: [M1, M2, M3, M4], acks: [M2], isCommitted: false },
    { voters: [M1, M2, M3, M4], acks: [M2, M3], isCommitted: true },
    { voters: [M1, M2, M3, M4, M5], acks: [M2], isCommitted: false },
    { voters: [M1, M2, M3, M4, M5], acks: [M2, M3], isCommitted: true },
  ])("a majority of $voters.length acknowledges: $acks", ({ voters, acks, isCommitted }) => {
    const leader = new Bench({ voters }).becomeLeader().acknowledgeAll();
    leader.propose("x");
    for (const ack of acks) leader.acknowledge(ack, 2);
    expect(leader.status.commitIndex).toBe((isCommitted ? 2 : 1) as LogIndex);
  });

  test.each([{ terms: [] }, { terms: [2] }, { terms: [1, 2] }, { terms: [1] }])(
    "a commit also commits all preceding entries, of earlier leaders too: $terms",
    ({ terms }) => {
      const leader = new Bench({ entries: logOf(...terms), term: 2 }).becomeLeader();
      leader.propose("x");
      leader.acknowledge(M2, leader.status.lastIndex);
      expect(leader.status).toMatchObject({ commitIndex: terms.length + 2, appliedIndex: terms.length + 2 });
    },
  );

  test("once a follower learns that an entry is committed, it applies it in log order", () => {
    const follower = new Bench();
    follower.append(M2, 1, [0, 0], [entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")], 2);
    expect(follower.store.commands.map(({ index }) => index)).toEqual([1, 2] as LogIndex[]);
    follower.receive(M2, 1, { type: "heartbeat", commit: 3 as LogIndex, round: 1 });
    expect(follower.status.appliedIndex).toBe(3 as LogIndex);
  });

  test.each([
    { previous: [0, 0], rejection: null },
    { previous: [1, 1], rejection: null },
    { previous: [2, 2], rejection: null },
    { previous: [1, 2], rejection: id(1, 1) },
    { previous: [2, 1], rejection: id(1, 1) },
    { previous: [3, 3], rejection: id(2, 2) },
    { previous: [9, 1], rejection: id(1, 1) },
  ] as const)(
    "the consistency check refuses what does not follow on: $previous",
    ({ previous, rejection }) => {
      const follower = new Bench({ entries: logOf(1, 2) });
      follower.append(M2, 2, previous, []);
      expect(follower.take()).toMatchObject([{ type: "append-response", index: previous[0], rejection }]);
    },
  );

  test.each([
    { previous: [2, 2], entries: [entry(3, 3)], terms: [1, 2, 3] },
    { previous: [1, 1], entries: [entry(2, 3), entry(3, 4)], terms: [1, 3, 4] },
    { previous: [0, 0], entries: [entry(1, 1)], terms: [1, 2] },
    { previous: [0, 0], entries: [entry(1, 3)], terms: [3] },
    { previous: [1, 1], entries: [], terms: [1, 2] },
  ] as { previous: [number, number]; entries: Entry[]; terms: number[] }[])(
    "a follower deletes conflicting entries and nothing else: $previous $terms",
    ({ previous, entries, terms }) => {
      const follower = new Bench({ entries: logOf(1, 2), term: 4 });
      follower.append(M2, 4, previous, entries);
      expect(termsOf(follower.store.entries)).toEqual(terms);
    },
  );

  // Figure 7: the leader of term 8 brings each of these logs into line with its own.
  const LEADER_TERMS = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  test.each([
    { name: "a", terms: [1, 1, 1, 4, 4, 5, 5, 6, 6] },
    { name: "b", terms: [1, 1, 1, 4] },
    { name: "c", terms: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6] },
    { name: "d", terms: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7] },
    { name: "e", terms: [1, 1, 1, 4, 4, 4, 4] },
    { name: "f", terms: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3] },
  ])("the leader brings the follower's log of figure 7 ($name) into line with its own", ({ terms }) => {
    const leader = new Bench({ entries: logOf(...LEADER_TERMS), term: 7 });
    const follower = new Bench({ id: M2, entries: logOf(...terms), term: 7 });
    leader.becomeLeader();
    let rounds = 0;
    for (let isBusy = true; isBusy; rounds += 1) {
      isBusy = false;
      for (const message of leader.take()) {
        if (message.to !== M2 || message.type === "vote" || message.type === "pre-vote") continue;
        follower.engine.step(message);
        isBusy = true;
      }
      for (const message of follower.settle().take()) leader.engine.step(message);
      leader.settle();
    }
    expect(termsOf(follower.store.entries)).toEqual([...LEADER_TERMS, 8]);
    // Whole terms are skipped, not single entries.
    expect(rounds).toBeLessThanOrEqual(6);
  });
});

describe("§5.4 safety", () => {
  test("a request for a vote says how far the candidate's log goes", () => {
    const candidate = new Bench({ entries: logOf(1, 2, 2), term: 4 }).becomeCandidate();
    expect(candidate.takeOf("vote")).toMatchObject([
      { to: M2, term: 5, last: id(3, 2) },
      { to: M3, term: 5, last: id(3, 2) },
    ]);
  });

  test.each([
    { own: [1], last: id(1, 1), isGranted: true },
    { own: [1], last: id(2, 1), isGranted: true },
    { own: [1, 1], last: id(1, 1), isGranted: false },
    { own: [1], last: id(1, 2), isGranted: true },
    { own: [1, 1], last: id(1, 2), isGranted: true },
    { own: [2], last: id(1, 1), isGranted: false },
    { own: [2], last: id(9, 1), isGranted: false },
    { own: [1, 2], last: id(1, 1), isGranted: false },
  ])(
    "a voter denies its vote if its own log is more up to date: $own, asked with $last",
    ({ own, last, isGranted }) => {
      for (const type of ["vote", "pre-vote"] as const) {
        const voter = new Bench({ entries: logOf(...own), term: 2 });
        voter.receive(M2, 3, { type, last, isTransfer: true });
        expect(voter.take()).toMatchObject([{ type: `${type}-response`, isGranted }]);
      }
    },
  );

  test.each([
    { acked: 1, commit: 0 },
    { acked: 2, commit: 0 },
    { acked: 3, commit: 3 },
  ])(
    "only entries of the leader's own term are committed by counting copies: $acked acknowledged",
    ({ acked, commit }) => {
      const leader = new Bench({ entries: logOf(1, 2), term: 2 }).becomeLeader();
      expect(leader.status.lastIndex).toBe(3 as LogIndex);
      leader.acknowledge(M2, acked);
      expect(leader.status.commitIndex).toBe(commit as LogIndex);
    },
  );
});
