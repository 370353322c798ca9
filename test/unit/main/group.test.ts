import { afterEach, describe, expect, test } from "bun:test";
import type { MemberId } from "../../../src/base/ids.ts";
import type { Consensus } from "../../../src/cluster/consensus.ts";
import { PROPOSALS_MAX } from "../../../src/main/proposals.ts";
import { EXIT_DIVERGED, EXIT_REMOVED } from "../../../src/main/worker-protocol.ts";
import type { EngineLimits } from "../../../src/raft/engine/limits.ts";
import { openDatabase } from "../../../src/store/database.ts";
import { sealRows } from "../../../src/store/row-checksum.ts";
import { encryptState, readStateText } from "../../../src/store/state-row.ts";
import { command, M1, M2, tokenCommand } from "../store/sample.ts";
import { eventually, logged, Members, type Seat, status, until } from "./members.ts";

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
const APPLIED = { kind: "applied", outcome: { ok: true } } as const;

let members: Members;
afterEach(() => members.close());

interface Group {
  readonly seats: ReadonlyMap<MemberId, Seat>;
  /** Only those that run. */
  at(id: MemberId): Consensus;
  leader(): Consensus | undefined;
}

/** Three voters; everybody knows what the present release knows. */
async function three(limits: Partial<EngineLimits> = {}): Promise<Group> {
  members = new Members(limits);
  const first = await members.form();
  const one = await members.start(first);
  await until(one, () => one.raft.isReady);
  const seats = new Map([[M1, first]]);
  for (const id of [M2, M3]) {
    const seat = await members.join(one);
    seats.set(id, seat);
    await members.start(seat);
  }
  await members.promote(one, M2, M3);
  expect(await one.propose(command("level", { kind: "raise-feature-level", level: 2 }), 10_000)).toEqual(
    APPLIED,
  );
  return {
    seats,
    at: (id) => members.running.get(id) as Consensus,
    leader: () => [...members.running.values()].find(({ raft }) => raft.role === "leader" && raft.isReady),
  };
}

const tokens = (consensus: Consensus) => consensus.state.tokens.map((token) => token.id);

async function leaderOf(
  group: Group,
  isRight: (leader: Consensus) => boolean = () => true,
): Promise<Consensus> {
  await eventually(() => {
    const leader = group.leader();
    return leader !== undefined && isRight(leader);
  });
  return group.leader() as Consensus;
}

describe("a member that is removed", () => {
  const leave = (name: string, id: MemberId) =>
    command(`leave ${name}`, { kind: "remove-member", memberId: id, operationId: `remove ${name}` });
  const forget = (name: string, id: MemberId) =>
    command(`forget ${name}`, { kind: "forget-member", memberId: id });

  test("stops, says why, and says it again when it is started again; the others go on", async () => {
    const group = await three();
    const one = group.at(M1);
    expect(await one.propose(leave("m3", M3), 10_000)).toEqual(APPLIED);
    one.changeConfig({ voters: [M1, M2], learners: [] });
    await until(one, () => one.raft.voterIds.length === 2 && !one.raft.isConfigPending);
    expect(members.fatal.has(M3)).toBe(false);
    expect(await one.propose(forget("m3", M3), 10_000)).toEqual(APPLIED);
    await eventually(() => members.fatal.has(M3));
    expect(members.fatal.get(M3)?.exitCode).toBe(EXIT_REMOVED);
    expect(members.fatal.get(M3)?.message).toContain("was removed from its cluster");
    const again = await members.start(group.seats.get(M3) as Seat).catch((error: Error) => error.message);
    expect(again).toContain("was removed from its cluster");
    expect(await group.at(M2).propose(tokenCommand("after"), 10_000)).toEqual(APPLIED);
  }, 30_000);

  test("is told when it comes back, if it was away", async () => {
    const group = await three();
    const one = group.at(M1);
    await members.stop(M3);
    expect(await one.propose(leave("m3", M3), 10_000)).toEqual(APPLIED);
    one.changeConfig({ voters: [M1, M2], learners: [] });
    await until(one, () => one.raft.voterIds.length === 2 && !one.raft.isConfigPending);
    expect(await one.propose(forget("m3", M3), 10_000)).toEqual(APPLIED);
    const { term } = one.raft;
    await members.start(group.seats.get(M3) as Seat);
    await eventually(() => members.fatal.has(M3));
    expect(members.fatal.get(M3)?.exitCode).toBe(EXIT_REMOVED);
    expect(one.raft).toMatchObject({ role: "leader", term });
  }, 30_000);

  test("hands leadership on first, if it leads", async () => {
    const group = await three();
    const one = group.at(M1);
    expect(one.raft.role).toBe("leader");
    expect(await one.propose(leave("m1", M1), 10_000)).toEqual(APPLIED);
    one.changeConfig({ voters: [M2, M3], learners: [] });
    const next = await leaderOf(group, (leader) => leader !== one);
    expect(next.raft.voterIds).toEqual([M2, M3]);
    expect(await next.propose(forget("m1", M1), 10_000)).toEqual(APPLIED);
    await eventually(() => members.fatal.has(M1));
    expect(members.fatal.get(M1)?.exitCode).toBe(EXIT_REMOVED);
    expect(await next.propose(tokenCommand("after"), 10_000)).toEqual(APPLIED);
    // Nobody waited for an election timeout.
    expect([M2, M3].flatMap(roles)).not.toContain("pre-candidate");
  }, 30_000);
});

test("a leader that stops hands over: no election timeout passes, and the most advanced takes it", async () => {
  const group = await three();
  for (let round = 0; round < 4; round += 1) {
    const leader = await leaderOf(group);
    const id = [...members.running].find(([, one]) => one === leader)?.[0] as MemberId;
    const { term } = leader.raft;
    for (const journal of members.journals.values()) journal.length = 0;
    await members.stop(id);
    const next = await leaderOf(group);
    expect(Number(next.raft.term)).toBe(term + 1);
    expect([...members.running.keys()].flatMap(roles)).not.toContain("pre-candidate");
    const back = await members.start(group.seats.get(id) as Seat);
    await until(back, () => back.raft.leaderId !== null);
    expect(await back.propose(tokenCommand(`round${round}`), 10_000)).toEqual(APPLIED);
  }
}, 40_000);

test("a read is never older than what was agreed before it began, whoever leads meanwhile", async () => {
  const group = await three();
  const ids = [M1, M2, M3];
  let isOver = false;
  const changing = (async () => {
    for (let at = 0; !isOver; at += 1) {
      const leader = await leaderOf(group);
      leader.transferLeadership(ids[at % 3] as MemberId);
      await Bun.sleep(20);
    }
  })();
  const terms = new Set<number>();
  for (let at = 0; at < 30; at += 1) {
    const writer = group.at(ids[at % 3] as MemberId);
    const reader = group.at(ids[(at + 1) % 3] as MemberId);
    const wish = tokenCommand(`token${at}`);
    const written = await writer.propose(wish, 20_000);
    expect(written.kind).toBe("applied");
    const read = await reader.barrier(20_000);
    expect(read.kind).toBe("reached");
    expect(tokens(reader)).toContain(`token${at}`);
    terms.add(reader.raft.term);
  }
  isOver = true;
  await changing;
  expect(terms.size).toBeGreaterThan(3);
}, 60_000);

test("a read that nobody can confirm is unknown", async () => {
  const group = await three();
  await members.stop(M2);
  await members.stop(M3);
  const one = group.at(M1);
  expect(await one.barrier(1)).toMatchObject({ kind: "unknown" });
  await until(one, () => one.raft.role !== "leader");
  expect(await one.barrier(100)).toMatchObject({ kind: "unknown" });
}, 30_000);

describe("too much at once is refused, and nothing of it happens", () => {
  test("by the leader, whose log would grow without being agreed", async () => {
    members = new Members({ uncommittedBytesMax: 2000 });
    const one = await members.start(await members.form());
    await until(one, () => one.raft.isReady);
    const ids = Array.from({ length: 200 }, (_, at) => `many${at}`);
    const results = await Promise.all(ids.map((id) => one.propose(tokenCommand(id), 20_000)));
    const kinds = new Set(results.map(({ kind }) => kind));
    expect([...kinds].toSorted()).toEqual(["applied", "overloaded"]);
    const happened = ids.filter((_, at) => results[at]?.kind === "applied");
    expect(
      tokens(one)
        .filter((id) => id.startsWith("many"))
        .toSorted(),
    ).toEqual(happened.toSorted());
  }, 30_000);

  test("by the member that is asked, while nobody leads", async () => {
    const group = await three();
    await members.stop(M2);
    await members.stop(M3);
    const one = group.at(M1);
    await until(one, () => one.raft.leaderId === null);
    const asked = Array.from({ length: PROPOSALS_MAX + 5 }, (_, at) =>
      one.propose(tokenCommand(`t${at}`), 300),
    );
    const kinds = (await Promise.all(asked)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "overloaded")).toHaveLength(5);
    expect(kinds.filter((kind) => kind === "not-proposed")).toHaveLength(PROPOSALS_MAX);
  }, 30_000);
});

describe("a member whose state is not what a majority has", () => {
  /** As if a bug or a bad disk had changed what is agreed, below every checksum. */
  function alter({ databasePath }: Seat): void {
    const database = openDatabase(databasePath);
    const state = readStateText(database) ?? "";
    const altered = state.replace('"scope":"viewer"', '"scope":"admin"');
    expect(altered).not.toBe(state);
    database.raw.run("UPDATE sm_state SET state = ?", [encryptState(database, altered)]);
    sealRows(database.raw);
    database.close();
  }

  async function publishing(group: Group): Promise<void> {
    for (const id of [M1, M2, M3]) group.at(id).publish(status(id, 1));
  }

  test("is found and stops, and says what to do", async () => {
    const group = await three();
    const one = group.at(M1);
    expect(await one.propose(tokenCommand("viewer"), 10_000)).toEqual(APPLIED);
    await eventually(() => tokens(group.at(M3)).includes("viewer"));
    await members.stop(M3);
    alter(group.seats.get(M3) as Seat);
    await members.start(group.seats.get(M3) as Seat);
    await publishing(group);
    expect(await one.propose(tokenCommand("next"), 10_000)).toEqual(APPLIED);
    await eventually(() => members.fatal.has(M3));
    expect(members.fatal.get(M3)?.exitCode).toBe(EXIT_DIVERGED);
    expect(members.fatal.get(M3)?.message).toContain("is not what a majority has");
    expect(await one.propose(tokenCommand("after"), 10_000)).toEqual(APPLIED);
    expect([...members.fatal.keys()]).toEqual([M3]);
  }, 30_000);

  test("ends itself, if it leads", async () => {
    const group = await three();
    const one = group.at(M1);
    expect(await one.propose(tokenCommand("viewer"), 10_000)).toEqual(APPLIED);
    await eventually(() => tokens(group.at(M3)).includes("viewer"));
    await members.stop(M3);
    alter(group.seats.get(M3) as Seat);
    const back = await members.start(group.seats.get(M3) as Seat);
    await until(back, () => back.raft.leaderId !== null);
    await eventually(() => {
      group.leader()?.transferLeadership(M3);
      return back.raft.role === "leader" && back.raft.isReady;
    });
    await publishing(group);
    expect(await back.propose(tokenCommand("next"), 10_000)).toEqual(APPLIED);
    await eventually(() => members.fatal.has(M3));
    expect(members.fatal.get(M3)?.exitCode).toBe(EXIT_DIVERGED);
    const next = await leaderOf(group);
    expect(await next.propose(tokenCommand("after"), 10_000)).toEqual(APPLIED);
    expect([...members.fatal.keys()]).toEqual([M3]);
  }, 30_000);
});

test("a new leader is told at once what every member says of itself", async () => {
  const group = await three();
  for (const id of [M1, M2, M3]) group.at(id).publish(status(id, 1, "before"));
  const one = group.at(M1);
  await until(one, () => one.observations.get(M3)?.status.reason === "before");
  const two = group.at(M2);
  await until(two, () => two.observations.get(M3)?.status.reason === "before");
  // Nobody publishes anything any more: what the new leader hears is sent because it leads.
  one.transferLeadership(M2);
  await until(two, () => two.raft.role === "leader" && two.raft.isReady);
  const sinceMs = two.raft.leadingSinceMs as number;
  for (const id of [M1, M3]) {
    await eventually(() => (two.observations.get(id)?.heardAtMs ?? 0) >= sinceMs);
    expect(two.observations.get(id)?.status.reason).toBe("before");
  }
}, 30_000);

/** Every role that this member has had since its journal was last cleared. */
function roles(id: MemberId): readonly string[] {
  return members.journal(id).flatMap((line) => /^raft\.role .*"role":"([a-z-]+)"/.exec(line)?.[1] ?? []);
}

process.on("exit", (code) => {
  if (code !== 0) process.stderr.write(`${logged()}\n`);
});
