import { afterEach, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { MemberId } from "../../../src/base/ids.ts";
import type { Consensus } from "../../../src/cluster/consensus.ts";
import { freePort } from "../peer/identities.ts";
import { command, M1, M2, tokenCommand } from "../store/sample.ts";
import { CuttingProxy } from "./cutting-proxy.ts";
import { eventually, logged, Members, until } from "./members.ts";

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
/** So that a snapshot is needed soon. */
const SHORT_LOG = { trailingEntries: 4, compactEveryEntries: 4, cachedEntriesMax: 4 };

let members: Members;
const proxies: CuttingProxy[] = [];
afterEach(async () => {
  await members.close();
  for (const proxy of proxies.splice(0)) proxy.stop();
});

const tokens = (consensus: Consensus) => consensus.state.tokens.map((token) => token.id);

/** Beyond what the log keeps. `bytes` of state each. */
async function agreeOn(consensus: Consensus, count: number, prefix: string, bytes = 2): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    const secretHash = crypto.randomUUID().repeat(Math.ceil(bytes / 36));
    const id = `${prefix}${at}`;
    const wish = command(id, { kind: "create-token", tokenId: id, secretHash, scope: "viewer" });
    expect(await consensus.propose(wish, 10_000)).toEqual({ kind: "applied", outcome: { ok: true } });
  }
}

test("a member that was away while the log was compacted comes back by a snapshot, and goes on", async () => {
  members = new Members(SHORT_LOG);
  const one = await members.start(await members.form());
  await until(one, () => one.raft.isReady);
  const seats = [await members.join(one), await members.join(one)];
  for (const seat of seats) await members.start(seat);
  await members.promote(one, M2, M3);
  await members.stop(M3);
  await agreeOn(one, 20, "away");
  await until(one, () => one.raft.floorIndex > 10);
  const three = await members.start(seats[1] as NonNullable<(typeof seats)[1]>);
  // Whoever is told that a read may be served finds what the snapshot brought.
  expect(await three.barrier(20_000)).toMatchObject({ kind: "reached" });
  expect(tokens(three)).toEqual(tokens(one));
  await eventually(() => members.journal(M1).some((line) => line.startsWith("snapshot.sent")));
  await until(three, () => three.raft.floorIndex > 10);
  // It takes part again: with the second member gone, nothing is agreed without it.
  await members.stop(M2);
  expect(await three.propose(tokenCommand("after"), 10_000)).toMatchObject({ kind: "applied" });
  // What happened while it was away can be read there too.
  expect(await three.readEvents(0, 1000)).toEqual(await one.readEvents(0, 1000));
  // Nobody needs the files any more.
  await eventually(() => leftovers(members).length === 0);
}, 30_000);

test("a new member of a group whose log was compacted gets a snapshot, learns, and votes", async () => {
  members = new Members(SHORT_LOG);
  const one = await members.start(await members.form());
  await until(one, () => one.raft.isReady);
  await agreeOn(one, 20, "before");
  const two = await members.start(await members.join(one));
  await until(two, () => tokens(two).includes("before19"));
  await members.promote(one, M2);
  expect(one.raft.voterIds).toEqual([M1, M2]);
  expect(await two.propose(tokenCommand("after"), 10_000)).toMatchObject({ kind: "applied" });
}, 30_000);

test("cut in the middle, it goes on where it stopped: after a lost connection, and after a restart", async () => {
  members = new Members(SHORT_LOG);
  const behind = freePort();
  const seat = await members.form(`127.0.0.1:${behind}`);
  const proxy = new CuttingProxy(behind, Number(seat.listen.split(":")[1]));
  proxies.push(proxy);
  const one = await members.start(seat);
  await until(one, () => one.raft.isReady);
  await agreeOn(one, 30, "large", 100_000);
  const joiner = await members.join(one);
  const journal = members.journal(M2);
  proxy.cutAfter(900_000);
  const starting = members.start(joiner);
  await eventually(() => proxy.cuts === 1 && journal.some((line) => line.startsWith("snapshot.interrupted")));
  const atBytes = Math.max(...journal.flatMap(numberAfter("atBytes")));
  expect(atBytes).toBeGreaterThan(256 * 1024);
  // It is restarted before there is a way to the leader again.
  const failed = starting.catch((error: unknown) => String(error));
  members.abort(M2);
  await failed;
  const before = journal.length;
  proxy.open();
  const two = await members.start(joiner);
  await until(two, () => tokens(two).includes("large29"));
  const pulling = journal.slice(before).find((line) => line.startsWith("snapshot.pulling")) ?? "";
  expect(numberAfter("startedBytes")(pulling)).toEqual([atBytes]);
  const [bytes = 0] = numberAfter('"bytes')(pulling);
  expect(bytes).toBeGreaterThan(3_000_000);
  // What had come already did not come again. (TLS and the rest of the talk cost a little more.)
  expect(proxy.largestBytes).toBeLessThan(bytes - atBytes + 200_000);
  expect(tokens(two)).toEqual(tokens(one));
}, 60_000);

/** The numbers that a line of the log has under this name. */
function numberAfter(name: string): (line: string) => number[] {
  const pattern = new RegExp(`${name}":(\\d+)`);
  return (line) => {
    const found = pattern.exec(line);
    return found === null ? [] : [Number(found[1])];
  };
}

function leftovers({ root }: Members): readonly string[] {
  return readdirSync(root).flatMap((name) => {
    const directory = join(root, name, "snapshots");
    return existsSync(directory) ? readdirSync(directory).map((file) => join(dirname(directory), file)) : [];
  });
}

process.on("exit", (code) => {
  if (code !== 0) process.stderr.write(`${logged()}\n`);
});
