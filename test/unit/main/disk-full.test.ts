import { afterEach, expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { MemberId } from "../../../src/base/ids.ts";
import { EXIT_DISK_FULL } from "../../../src/main/worker-protocol.ts";
import { command, M1, M2 } from "../store/sample.ts";
import { eventually, logged, Members, status, until } from "./members.ts";

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
const APPLIED = { kind: "applied", outcome: { ok: true } } as const;
const DISK_MIB = 24;

const members = new Members();
const disk = join(members.root, M3);
mkdirSync(disk, { recursive: true });
const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", `size=${DISK_MIB}m`, "tmpfs", disk]);
/** Only root may, and not in every container. */
const canMount = mounted.exitCode === 0;

afterEach(async () => {
  await Promise.all([M1, M2, M3].map((id) => members.stop(id)));
  if (canMount) Bun.spawnSync(["umount", "-l", disk]);
  await members.close();
});

/** Takes all the room there is. */
function fill(name: string): void {
  const file = openSync(join(disk, name), "w");
  const { bavail, bsize } = statfsSync(disk);
  try {
    for (let left = bavail * bsize; left > 0; left -= 4096) writeSync(file, new Uint8Array(4096));
  } catch (error) {
    // That was the last of it.
    expect((error as { code?: string }).code).toBe("ENOSPC");
  } finally {
    closeSync(file);
  }
}

test.skipIf(!canMount)(
  "a leader whose disk is full loses nothing, hands over, goes on as it can, and ends when there is no room at all",
  async () => {
    const one = await members.start(await members.form());
    await until(one, () => one.raft.isReady);
    for (let count = 0; count < 2; count += 1) await members.start(await members.join(one));
    await members.promote(one, M2, M3);
    const three = members.running.get(M3) as typeof one;
    const journal = members.journal(M3);
    for (const [id, member] of members.running) member.publish(status(id, 1));
    await eventually(() => {
      if (one.raft.role === "leader") one.transferLeadership(M3);
      return three.raft.role === "leader" && three.raft.isReady;
    });
    fill("filler");
    let count = 0;
    const proposeLarge = async (): Promise<void> => {
      const id = `large${count}`;
      count += 1;
      const wish = command(id, {
        kind: "create-token",
        tokenId: id,
        secretHash: "ab".repeat(50_000),
        scope: "viewer",
      });
      expect(await one.propose(wish, 20_000)).toEqual(APPLIED);
    };
    while (!journal.some((line) => line.startsWith("disk.full"))) await proposeLarge();
    await eventually(() => three.raft.role !== "leader" && one.raft.leaderId !== null);
    expect(journal.join("\n")).toContain("the disk is full");
    await until(three, () => three.raft.isDiskFull === true);
    expect(one.raft.isDiskFull).toBe(false);
    // Nothing of what was agreed is lost, and it still follows.
    await eventually(() => three.state.tokens.length === one.state.tokens.length);
    await proposeLarge();
    await eventually(() => three.state.tokens.length === one.state.tokens.length);
    fill("more");
    for (let more = 0; more < 200 && !members.fatal.has(M3); more += 1) await proposeLarge();
    await eventually(() => members.fatal.has(M3));
    expect(members.fatal.get(M3)?.exitCode).toBe(EXIT_DISK_FULL);
    expect(members.fatal.get(M3)?.message).toContain("is full: make room on it");
    await proposeLarge();
    rmSync(join(disk, "filler"));
    rmSync(join(disk, "more"));
    const again = await members.start(members.seats.get(M3) as Parameters<Members["start"]>[0]);
    await eventually(() => again.state.tokens.length === one.state.tokens.length);
  },
  60_000,
);

process.on("exit", (code) => {
  // Also where no test of this file was wanted: a mount must not stay.
  if (canMount) Bun.spawnSync(["umount", "-l", disk], { stderr: "ignore" });
  if (code !== 0) process.stderr.write(`${logged()}\n`);
});
