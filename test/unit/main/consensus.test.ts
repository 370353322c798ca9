import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MemberId } from "../../../src/base/ids.ts";
import type { Consensus } from "../../../src/cluster/consensus.ts";
import { verifySnapshot } from "../../../src/store/snapshot-file.ts";
import { CLUSTER, M1, M2, tokenCommand } from "../store/sample.ts";
import { CLOCK, logged, Members, status, until } from "./members.ts";

let members: Members;
beforeEach(() => {
  members = new Members();
});
afterEach(() => members.close());

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
const id = (number: number) => `00000000-0000-4000-8000-00000000000${number}` as MemberId;
const tokens = (consensus: Consensus) => consensus.state.tokens.map((token) => token.id);

describe("one member", () => {
  test("forms, leads, agrees with itself, and knows it all after a restart", async () => {
    const seat = await members.form();
    let one = await members.start(seat);
    expect(one.state.members.map((member) => member.name)).toEqual(["m1"]);
    await until(one, () => one.raft.isReady);
    expect(one.raft).toMatchObject({ role: "leader", leaderId: M1, voterIds: [M1] });
    expect(Math.abs(CLOCK.nowMs() - (one.raft.leadingSinceMs ?? 0))).toBeLessThan(60_000);
    expect(await one.propose(tokenCommand("a"), 5000)).toEqual({ kind: "applied", outcome: { ok: true } });
    expect(tokens(one)).toEqual(["t0", "a"]);
    const events = await one.readEvents(0, 100);
    expect(events.length).toBeGreaterThan(0);
    await one.close();
    expect(await one.propose(tokenCommand("b"), 5000)).toMatchObject({ kind: "not-proposed" });
    expect(await one.outcomeOf(tokenCommand("a").id)).toBeNull();
    one = await members.start(seat);
    expect(tokens(one)).toEqual(["t0", "a"]);
    await until(one, () => one.raft.isReady);
    expect(await one.readEvents(0, 100)).toEqual(events);
    expect(await one.outcomeOf(tokenCommand("a").id)).toEqual({ ok: true });
    expect(await one.outcomeOf(tokenCommand("b").id)).toBeNull();
  });

  test("reads without writing, and copies what is agreed", async () => {
    const seat = await members.form();
    const one = await members.start(seat);
    await until(one, () => one.raft.isReady);
    expect(await one.propose(tokenCommand("a"), 5000)).toMatchObject({ kind: "applied" });
    await until(one, () => one.raft.lastIndex === one.appliedIndex);
    const { lastIndex } = one.raft;
    expect(await one.barrier(5000)).toEqual({ kind: "reached", index: lastIndex });
    expect(one.raft.lastIndex).toBe(lastIndex);
    const copies = [await one.backup(), await one.backup()];
    for (const { path, index } of copies) {
      expect(index).toBe(lastIndex);
      expect(verifySnapshot(path, CLUSTER).meta.index).toBe(lastIndex);
    }
    expect(new Set(copies.map(({ path }) => path)).size).toBe(2);
    // What nobody took away is removed at the next start.
    await members.stop(M1);
    await members.start(seat);
    expect(copies.map(({ path }) => existsSync(path))).toEqual([false, false]);
  });

  test("a refusal is an outcome, and the same command twice has the effect of once", async () => {
    const one = await members.start(await members.form());
    const twice = await Promise.all([
      one.propose(tokenCommand("a"), 5000),
      one.propose(tokenCommand("a"), 5000),
    ]);
    expect(twice).toEqual([
      { kind: "applied", outcome: { ok: true } },
      { kind: "applied", outcome: { ok: true } },
    ]);
    expect(tokens(one)).toEqual(["t0", "a"]);
  });

  test("a command that nobody understands is never proposed", async () => {
    const one = await members.start(await members.form());
    await until(one, () => one.raft.isReady);
    const nonsense = { ...tokenCommand("a"), change: { kind: "nonsense" } };
    expect(await one.propose(nonsense as unknown as ReturnType<typeof tokenCommand>, 5000)).toMatchObject({
      kind: "not-proposed",
    });
    expect(await one.propose(tokenCommand("b"), 5000)).toMatchObject({ kind: "applied" });
  });

  test("a start that cannot be says why", async () => {
    const seat = await members.form();
    await members.start(seat);
    expect(
      await failure(members.start({ ...seat, databasePath: join(members.root, "none", "guacamole.db") })),
    ).toContain("belongs to no member yet");
    expect(await failure(members.start(seat))).toContain("in use by another guacamole process");
    const other = new Members();
    const taken = await other.form();
    expect(await failure(other.start({ ...taken, listen: seat.listen }))).toContain(
      "cannot listen for other members",
    );
    await other.close();
  });
});

describe("three members", () => {
  test("agree, through whichever is asked, and pass on what they see", async () => {
    const [one, two, three] = await members.three();
    for (const [at, member] of [one, two, three].entries()) {
      expect(await member.propose(tokenCommand(`c${at}`), 10_000)).toEqual({
        kind: "applied",
        outcome: { ok: true },
      });
      expect(tokens(member)).toContain(`c${at}`);
    }
    for (const [at, member] of [one, two, three].entries()) member.publish(status(id(at + 1), 1));
    for (const member of [one, two, three]) {
      await until(
        member,
        () => [...member.observations.values()].filter((seen) => seen.isConnected).length === 3,
      );
      for (const seen of member.observations.values()) {
        const ageMs = CLOCK.nowMs() - seen.statusAtMs;
        expect(ageMs).toBeGreaterThanOrEqual(-5);
        expect(ageMs).toBeLessThan(60_000);
        expect(seen.heardAtMs).toBeLessThanOrEqual(CLOCK.nowMs() + 5);
      }
    }
    two.publish(status(id(2), 2, "news"));
    await until(three, () => three.observations.get(id(2))?.status.reason === "news");
    // An older one that comes late changes nothing.
    two.publish(status(id(2), 1, "old"));
    two.publish(status(id(2), 3, "newer"));
    await until(one, () => one.observations.get(id(2))?.status.reason === "newer");
  }, 20_000);

  test("ask each other, and hear why there is no answer", async () => {
    const [one, two] = await members.three();
    two.onCall(async (from, method, payload) => {
      if (method === "fail") throw new Error("no such thing");
      return { from, method, payload };
    });
    expect(await one.call(id(2), "hello", { a: 1 }, 5000)).toEqual({
      from: M1,
      method: "hello",
      payload: { a: 1 },
    });
    expect(await failure(one.call(id(2), "fail", null, 5000))).toContain("no such thing");
    expect(await failure(one.call(id(3), "hello", null, 5000))).toContain("not ready to answer");
    expect(await failure(one.call(id(9), "hello", null, 5000))).toContain("no connection");
  }, 20_000);

  test("a leader that closes hands over, and the others go on", async () => {
    const [one, two, three] = await members.three();
    await until(one, () => one.raft.role === "leader");
    await one.close();
    await Promise.race([
      until(two, () => two.raft.isReady && two.raft.role === "leader"),
      until(three, () => three.raft.isReady && three.raft.role === "leader"),
    ]);
    const lone = await Promise.all([
      two.propose(tokenCommand("x"), 10_000),
      three.propose(tokenCommand("y"), 10_000),
    ]);
    expect(lone).toEqual([
      { kind: "applied", outcome: { ok: true } },
      { kind: "applied", outcome: { ok: true } },
    ]);
    const gone = [two, three].find((member) => member.raft.role === "leader") ?? two;
    expect(gone.observations.get(M1)?.isConnected ?? false).toBe(false);
  }, 20_000);

  test("kill -9 of the leader: a new one is elected, nothing is lost, and the old one returns", async () => {
    const seat = await members.form();
    const path = join(members.root, "seat.json");
    writeFileSync(path, JSON.stringify(seat));
    // The first member lives in a process of its own, so that it can be killed.
    const starter = await members.start(seat);
    await until(starter, () => starter.raft.isReady);
    const two = await members.start(await members.join(starter));
    const three = await members.start(await members.join(starter));
    await members.promote(starter, M2, M3);
    await starter.close();
    let first = spawnMember(path);
    await until(two, () => two.raft.leaderId !== null);
    // Only a member that follows or leads again has been heard by the others.
    const leading = () => [two, three].find((member) => member.raft.role === "leader");
    await Promise.race([two, three].map((member) => until(member, () => leading()?.raft.isReady === true)));
    const leader = leading() ?? two;
    await settle(leader, () => {
      leader.transferLeadership(M1);
      return two.raft.leaderId === M1 && three.raft.leaderId === M1;
    });
    expect(await two.propose(tokenCommand("before"), 10_000)).toMatchObject({ kind: "applied" });
    first.kill("SIGKILL");
    await first.exited;
    expect(await three.propose(tokenCommand("after"), 10_000)).toMatchObject({ kind: "applied" });
    expect(tokens(three)).toEqual(expect.arrayContaining(["before", "after"]));
    first = spawnMember(path);
    for await (const chunk of first.stdout) {
      if (new TextDecoder().decode(chunk).includes("after")) break;
    }
    first.kill("SIGKILL");
    await first.exited;
  }, 30_000);
});

/** The message of the error. (`expect(…).rejects` waits in a way that lets no worker speak.) */
async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    return `succeeded: ${JSON.stringify(await promise)}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function spawnMember(seatPath: string) {
  return Bun.spawn([process.execPath, join(import.meta.dir, "member.ts"), seatPath], {
    stdout: "pipe",
    stderr: "inherit",
  });
}

/** Tries again at each change, and now and then, until it is so. */
async function settle(consensus: Consensus, attempt: () => boolean): Promise<void> {
  while (!attempt()) {
    await Promise.race([
      new Promise<void>((resolve) => setTimeout(resolve, 50)),
      until(consensus, () => false),
    ]);
  }
}

process.on("exit", (code) => {
  if (code !== 0) process.stderr.write(`${logged()}\n`);
});
