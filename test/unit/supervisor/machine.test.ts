import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { machineFacts } from "../../../src/supervisor/machine.ts";

const root = mkdtempSync(join(tmpdir(), "guacamole-machine-"));
afterAll(() => rmSync(root, { recursive: true }));

const MB = 1024 ** 2;

/** A `/sys` and a control group as a test wants them. */
function places(name: string, cgroup: string, files: Readonly<Record<string, string>>) {
  const sys = join(root, name);
  const cgroupFile = join(sys, "cgroup");
  for (const [path, text] of Object.entries({ cgroup, ...files })) {
    mkdirSync(dirname(join(sys, path)), { recursive: true });
    writeFileSync(join(sys, path), text);
  }
  return { sys, cgroupFile };
}

test("machineFacts() takes the least that a control group and those above it allow", () => {
  const unified = places("v2", "0::/a/b\n", {
    "fs/cgroup/a/b/memory.max": "max\n",
    "fs/cgroup/a/memory.max": `${300 * MB}\n`,
    "fs/cgroup/a/b/cpu.max": "100000 100000\n",
    "fs/cgroup/a/cpu.max": "max 100000\n",
  });
  expect(machineFacts(root, unified)).toMatchObject({
    memoryBytes: 300 * MB,
    isMemoryLimited: true,
    cores: 1,
  });
  const older = places("v1", "4:memory:/c\n0::/\n", {
    "fs/cgroup/memory/c/memory.limit_in_bytes": `${200 * MB}\n`,
    "fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
  });
  expect(machineFacts(root, older)).toMatchObject({ memoryBytes: 200 * MB, isMemoryLimited: true });
});

test("machineFacts() without limits is what the machine has", () => {
  const facts = machineFacts(join(root, "not", "there", "yet"), places("none", "", {}));
  expect(facts).toMatchObject({ memoryBytes: totalmem(), isMemoryLimited: false, disk: "unknown" });
  expect(facts.cores).toBeGreaterThanOrEqual(1);
  expect(facts.diskBytes).toBeGreaterThan(0);
});

test.each([
  ["0", "ssd"],
  ["1", "rotating"],
] as const)("machineFacts() finds the kind of disk of a partition: %s", (rotational, kind) => {
  const { dev } = statSync(root);
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  const of = places(`disk-${kind}`, "", {
    "devices/sda/queue/rotational": rotational,
    "devices/sda/sda1/partition": "1",
  });
  mkdirSync(join(of.sys, "dev/block"), { recursive: true });
  symlinkSync(join(of.sys, "devices/sda/sda1"), join(of.sys, "dev/block", `${major}:${minor}`));
  expect(machineFacts(root, of).disk).toBe(kind);
});
