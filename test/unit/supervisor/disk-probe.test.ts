import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DiskProbe, PROBE_FILE } from "../../../src/supervisor/disk-probe.ts";
import { DiskWatch } from "../../../src/supervisor/disk-watch.ts";
import { createStateDirectory, statePaths } from "../../../src/supervisor/state-directory.ts";
import { realClock } from "../../support/postgres-clock.ts";
import { until } from "../../support/postgres-farm.ts";
import { FreezableDisk, freezeRefusal, mountRefusal, TinyDisk } from "../../support/small-disk.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "guacamole-disk-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function probeOf(directory: string): DiskProbe {
  return new DiskProbe({ place: "data", directory, isWanted: async () => existsSync(directory) }, realClock);
}

async function probed(probe: DiskProbe) {
  probe.begin();
  await probe.idle();
  return probe.status;
}

test("a probe tells how long a sync took and how much room there is, and leaves an empty file", async () => {
  const status = await probed(probeOf(root));
  expect(status).toMatchObject({ place: "data", pendingMs: null, isFull: false });
  expect(status?.lastSyncMs).toBeGreaterThanOrEqual(0);
  expect(status?.freeBytes).toBeGreaterThan(0);
  expect(status?.totalBytes).toBeGreaterThanOrEqual(status?.freeBytes ?? Number.POSITIVE_INFINITY);
  expect(statSync(join(root, PROBE_FILE)).size).toBe(0);
});

test("where there is no directory, nothing is written and nothing is told", async () => {
  const probe = probeOf(join(root, "absent"));
  expect(await probed(probe)).toBeNull();
  expect(readdirSync(root)).toEqual([]);
  mkdirSync(join(root, "absent"));
  expect(await probed(probe)).not.toBeNull();
  rmSync(join(root, "absent"), { recursive: true });
  expect(await probed(probe)).toBeNull();
});

test("a data directory that is not ours is not written into, and what is written goes at the end", async () => {
  const paths = statePaths(join(root, "data"));
  createStateDirectory(paths, "us");
  mkdirSync(paths.dataDirectory);
  writeFileSync(join(paths.dataDirectory, "precious"), "");
  const watch = new DiskWatch(paths, realClock);
  watch.start();
  await until("the state directory was probed", async () => (watch.status.length > 0 ? true : null));
  await watch.stop(10_000);
  expect(watch.status.map(({ place }) => place)).toEqual(["state"]);
  expect(readdirSync(paths.dataDirectory)).toEqual(["precious"]);
  expect(readdirSync(paths.stateDirectory)).toEqual(["forked"]);
});

const noMount = mountRefusal();
describe.skipIf(noMount !== null)(`on disks of their own${noMount === null ? "" : ` (${noMount})`}`, () => {
  test("a full disk is full until there is room again", async () => {
    const disk = TinyDisk.mount(join(root, "tiny"), 1);
    try {
      const probe = probeOf(disk.directory);
      expect((await probed(probe))?.isFull).toBe(false);
      disk.fill();
      expect(await probed(probe)).toMatchObject({ isFull: true, freeBytes: 0 });
      disk.free();
      expect((await probed(probe))?.isFull).toBe(false);
    } finally {
      disk.unmount();
    }
  });
});

const noFreeze = noMount ?? freezeRefusal();
describe.skipIf(noFreeze !== null)(`on a disk that hangs${noFreeze === null ? "" : ` (${noFreeze})`}`, () => {
  test("the present probe is seen waiting, one at a time, and nobody else waits", async () => {
    const disk = FreezableDisk.mount(join(root, "frozen"));
    const [hanging, other] = [probeOf(disk.directory), probeOf(root)];
    try {
      expect((await probed(hanging))?.pendingMs).toBeNull();
      disk.freeze();
      hanging.begin();
      const waited = await until("the probe waits", async () => {
        hanging.begin();
        const pendingMs = hanging.status?.pendingMs ?? 0;
        return pendingMs > 200 ? pendingMs : null;
      });
      expect((await probed(other))?.pendingMs).toBeNull();
      expect(hanging.status?.pendingMs).toBeGreaterThanOrEqual(waited);
    } finally {
      disk.thaw();
      await hanging.idle();
      disk.unmount();
    }
    expect(hanging.status).toMatchObject({ pendingMs: null });
  });
});
