import { dlopen, FFIType } from "bun:ffi";
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Log } from "../../../src/base/log.ts";
import { OrphanUndertaker } from "../../../src/supervisor/orphans.ts";
import { zombiesOf } from "../../../src/supervisor/process-table.ts";

/** Makes orphans below this process its children, as those of a container are the first process's. */
const PR_SET_CHILD_SUBREAPER = 36;
const libc = dlopen("libc.so.6", { prctl: { args: [FFIType.i32, FFIType.u64], returns: FFIType.i32 } });
const silent: Log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

beforeAll(() => void libc.symbols.prctl(PR_SET_CHILD_SUBREAPER, 1n));
afterAll(() => void libc.symbols.prctl(PR_SET_CHILD_SUBREAPER, 0n));

async function orphan(): Promise<number> {
  const parent = Bun.spawn(["sh", "-c", "sleep 0.01 >/dev/null 2>&1 & echo $!"]);
  const pid = Number((await new Response(parent.stdout).text()).trim());
  await parent.exited;
  while (!zombiesOf(process.pid).includes(pid)) await Bun.sleep(2);
  return pid;
}

test("an orphan that is dead at two looks is buried, once", async () => {
  const undertaker = new OrphanUndertaker(process.pid, silent);
  const pid = await orphan();
  expect(undertaker.look()).not.toContain(pid);
  expect(zombiesOf(process.pid)).toContain(pid);
  expect(undertaker.look()).toContain(pid);
  expect(zombiesOf(process.pid)).not.toContain(pid);
  expect(undertaker.look()).toEqual([]);
});

test("what Bun spawned is Bun's to notice: its exit code is not lost", async () => {
  const undertaker = new OrphanUndertaker(process.pid, silent);
  const child = Bun.spawn(["sh", "-c", "exit 7"]);
  undertaker.look();
  expect(await child.exited).toBe(7);
  expect(undertaker.look()).not.toContain(child.pid);
});
