/** Who has a data directory, with real processes that hold its lock. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { closeSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { lockDataDirectory } from "../../../src/main/data-lock.ts";
import { processStartTicks } from "../../../src/supervisor/process-table.ts";
import { realClock } from "../../support/postgres-clock.ts";

const MODULE = resolve(import.meta.dir, "../../../src/main/data-lock.ts");
const CLOCK = resolve(import.meta.dir, "../../support/postgres-clock.ts");
let dataDir: string;
const children: Bun.Subprocess[] = [];
const open: number[] = [];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "data-lock-"));
});
afterEach(async () => {
  for (const file of open.splice(0)) closeSync(file);
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
  rmSync(dataDir, { recursive: true });
});

/** A process that holds the lock until it is told to end. */
async function holder(isStandIn: boolean): Promise<Bun.Subprocess> {
  const child = Bun.spawn(
    [
      process.execPath,
      "-e",
      `const { lockDataDirectory } = await import(${JSON.stringify(MODULE)});
       const { realClock } = await import(${JSON.stringify(CLOCK)});
       const options = { dataDir: ${JSON.stringify(dataDir)}, isStandIn: ${isStandIn}, clock: realClock, onTakeOver() {} };
       console.log((await lockDataDirectory(options)).ok);
       setInterval(() => undefined, 1000);`,
    ],
    { stdout: "pipe" },
  );
  children.push(child);
  for await (const said of child.stdout) {
    expect(new TextDecoder().decode(said)).toBe("true\n");
    break;
  }
  return child;
}

async function lock(isStandIn: boolean) {
  const asked: number[] = [];
  const onTakeOver = (pid: number) => void asked.push(pid);
  const locked = await lockDataDirectory({ dataDir, isStandIn, clock: realClock, onTakeOver });
  if (locked.ok) open.push(locked.value);
  return { isTaken: locked.ok, asked };
}

test("a stand-in gives way to who was started otherwise", async () => {
  const standIn = await holder(true);
  expect(await lock(false)).toEqual({ isTaken: true, asked: [standIn.pid] });
  await standIn.exited;
  expect(standIn.signalCode).toBe("SIGTERM");
  const startTicks = processStartTicks(process.pid);
  const written = JSON.parse(readFileSync(join(dataDir, "lock"), "utf8")) as object;
  expect(written).toEqual({ pid: process.pid, startTicks, isStandIn: false });
});

test.each([
  ["a member that somebody else started", false, false],
  ["a member, for a stand-in", false, true],
  ["a stand-in, for another one", true, true],
])("nobody has it beside %s, which stays", async (_what, isHolderStandIn, isStandIn) => {
  const first = await holder(isHolderStandIn);
  expect(await lock(isStandIn)).toEqual({ isTaken: false, asked: [] });
  expect(first.exitCode).toBeNull();
});

test("what one that has ended wrote ends nobody", async () => {
  const first = await holder(false);
  const bystander = Bun.spawn(["sleep", "60"]);
  children.push(bystander);
  const note = { pid: bystander.pid, startTicks: 1, isStandIn: true };
  writeFileSync(join(dataDir, "lock"), JSON.stringify(note));
  expect(await lock(false)).toEqual({ isTaken: false, asked: [] });
  expect([first.exitCode, bystander.exitCode]).toEqual([null, null]);
});

test("it is free once its holder was killed", async () => {
  const first = await holder(false);
  first.kill("SIGKILL");
  await first.exited;
  expect(await lock(false)).toEqual({ isTaken: true, asked: [] });
});
