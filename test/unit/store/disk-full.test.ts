import { Database } from "bun:sqlite";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, existsSync, openSync, rmSync, statfsSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import { BALLAST_BYTES, ballastPathOf } from "../../../src/store/ballast.ts";
import { isDiskFull, openDatabase } from "../../../src/store/database.ts";
import { loadIdentity } from "../../../src/store/identity.ts";
import { storePaths } from "../../../src/store/marker.ts";
import type { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { DiskFullError, StoreError } from "../../../src/store/store-error.ts";
import { commandEntry, formIn, inDirectory, M1, openStore, tokenCommand, write } from "./sample.ts";
import { canMount, canMountImages, onLyingDisk, onTinyDisk } from "./tiny-disk.ts";

// A busy machine takes its time.
setDefaultTimeout(60_000);

const MEGABYTE = 1024 * 1024;
// Without the right to mount there is no small disk to fill.
const cannotMount = !(await canMount());
// Nor is there everywhere a loop device to put a file system on.
const cannotMountImages = !(await canMountImages());

function append(store: SqliteLogStore, count: number): void {
  const first = store.load().last.index + 1;
  const entries = Array.from({ length: count }, (_, at) =>
    commandEntry(first + at, 1, tokenCommand(`c${first + at}`)),
  );
  const commit = (first + count - 1) as LogIndex;
  write(store, { entries, committed: entries, hard: { term: 1 as Term, vote: M1, commit } });
}

/** Takes all the room that is left. */
function fillUp(directory: string): void {
  const file = openSync(join(directory, "filler"), "w");
  const chunk = new Uint8Array(4096).fill(1);
  try {
    while (writeSync(file, chunk) > 0);
  } catch (error) {
    expect(error).toMatchObject({ code: "ENOSPC" });
  } finally {
    closeSync(file);
  }
}

function errorOf(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return null;
}

describe.skipIf(cannotMount)("a full disk", () => {
  test("takes back the batch, whole, and the store goes on once there is room", () =>
    onTinyDisk(24 * MEGABYTE, (directory) => {
      const path = formIn(directory);
      let store = openStore(path);
      append(store, 50);
      fillUp(directory);
      const before = { ...store.load(), state: store.state, hash: store.stateHash() };
      const failure = errorOf(() => {
        for (;;) append(store, 20);
      });
      expect(failure).toBeInstanceOf(DiskFullError);
      expect((failure as Error).message).toContain("is full: make room on it");
      const kept = store.load();
      expect(kept.applied).toBeGreaterThanOrEqual(before.applied);
      expect(kept.applied).toBe(kept.last.index);
      expect(store.state?.tokens).toHaveLength(kept.applied - 1);
      // Again and again the same, and nothing of it stays.
      expect(errorOf(() => append(store, 400))).toBeInstanceOf(DiskFullError);
      expect(store.load()).toEqual(kept);

      rmSync(join(directory, "filler"));
      append(store, 400);
      expect(store.load().last.index).toBe((kept.last.index + 400) as LogIndex);
      store.close();
      store = openStore(path);
      expect(store.state?.tokens).toHaveLength(kept.applied + 400 - 1);
      expect(store.load().applied).toBe((kept.applied + 400) as LogIndex);
      store.close();
    }));

  test("leaves the ballast, which makes room to compact, which makes room to go on", () =>
    onTinyDisk(40 * MEGABYTE, (directory) => {
      const path = formIn(directory);
      let store = openStore(path);
      expect(statSync(ballastPathOf(path)).size).toBe(BALLAST_BYTES);
      for (let turn = 0; turn < 20; turn += 1) append(store, 100);
      store.checkpoint();
      fillUp(directory);
      expect(errorOf(() => append(store, 5_000))).toBeInstanceOf(DiskFullError);
      const { applied } = store.load();
      expect(errorOf(() => store.compact((applied - 10) as LogIndex))).toBeInstanceOf(DiskFullError);
      expect(store.load().floor.index as number).toBe(0);
      // A restart does not make it worse: there is room for nothing, and nothing is needed to start.
      store.close();
      store = openStore(path);
      expect(existsSync(`${path}-shm`)).toBe(false);
      expect(errorOf(() => append(store, 400))).toBeInstanceOf(DiskFullError);
      expect(store.load().applied).toBe(applied);

      expect(store.freeBallast()).toBe(true);
      expect(store.freeBallast()).toBe(false);
      expect(store.compact((applied - 10) as LogIndex).index).toBe((applied - 10) as LogIndex);
      store.checkpoint();
      // What was forgotten is room in the database: without any more on the disk, new entries fit.
      for (let turn = 0; turn < 5; turn += 1) append(store, 10);
      expect(store.load().applied).toBe((applied + 50) as LogIndex);
      store.close();
      // There is no room to make the ballast again, and that stops nobody.
      openStore(path).close();
      expect(existsSync(ballastPathOf(path))).toBe(false);
      rmSync(join(directory, "filler"));
      openStore(path).close();
      expect(existsSync(ballastPathOf(path))).toBe(true);
    }));

  test("when a member is to be formed is said, and leaves nothing", () =>
    onTinyDisk(MEGABYTE, (directory) => {
      fillUp(directory);
      expect(errorOf(() => formIn(directory))).toBeInstanceOf(StoreError);
      rmSync(join(directory, "filler"));
      // Now only the forming itself finds no room.
      openDatabase(storePaths(directory).database).close();
      fillUp(directory);
      expect(errorOf(() => formIn(directory))).toBeInstanceOf(DiskFullError);
      rmSync(join(directory, "filler"));
      expect(loadIdentity(join(directory, "guacamole.db"))).toBeNull();
      formIn(directory);
    }));

  test("when a snapshot is to be written leaves what was there", () =>
    onTinyDisk(12 * MEGABYTE, (directory) => {
      const store = openStore(formIn(directory));
      append(store, 100);
      const path = join(directory, "snapshot");
      const file = store.writeSnapshot(path);
      append(store, 100);
      fillUp(directory);
      expect(errorOf(() => store.writeSnapshot(path))).toBeInstanceOf(DiskFullError);
      expect(statSync(path).size).toBe(file.bytes);
      expect(existsSync(`${path}.new`)).toBe(false);
      store.close();
    }));
});

describe("the ballast", () => {
  test("is really there, and made once", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      openStore(path).close();
      const { ino, blocks, mode } = statSync(ballastPathOf(path));
      expect(blocks * 512).toBeGreaterThanOrEqual(BALLAST_BYTES);
      expect(mode & 0o777).toBe(0o600);
      openStore(path).close();
      expect(statSync(ballastPathOf(path)).ino).toBe(ino);
    }));

  test.skipIf(cannotMount)("is not made where it would take the room that is needed", () =>
    onTinyDisk(6 * MEGABYTE, (directory) => {
      const path = formIn(directory);
      openStore(path).close();
      expect(existsSync(ballastPathOf(path))).toBe(false);
      expect(statfsSync(directory).bavail * statfsSync(directory).bsize).toBeGreaterThan(5 * MEGABYTE);
    }),
  );
});

describe("what the disk answers", () => {
  test.skipIf(cannotMount)("no room: SQLITE_FULL, and the transaction is undone", () =>
    onTinyDisk(MEGABYTE, (directory) => {
      const raw = new Database(join(directory, "x.db"));
      raw.run("PRAGMA locking_mode = EXCLUSIVE");
      raw.run("PRAGMA journal_mode = WAL");
      raw.run("CREATE TABLE t (a BLOB)");
      const failure = errorOf(() => {
        for (;;) raw.transaction(() => raw.run("INSERT INTO t VALUES (zeroblob(9000))"))();
      });
      expect(failure).toMatchObject({ code: "SQLITE_FULL" });
      expect(isDiskFull(failure)).toBe(true);
      expect(raw.inTransaction).toBe(false);
      raw.close();
    }),
  );

  test.skipIf(cannotMountImages)(
    "no room when it is asked to keep what it took: the store takes nothing more",
    () =>
      onLyingDisk(10 * MEGABYTE, (directory, mend) => {
        const path = formIn(directory);
        const store = openStore(path);
        let acknowledged = 0;
        const failure = errorOf(() => {
          for (let turn = 0; turn < 200; turn += 1) {
            append(store, 200);
            acknowledged = store.load().last.index;
          }
        });
        expect(failure).not.toBeInstanceOf(DiskFullError);
        expect(failure).toMatchObject({ code: "SQLITE_IOERR_FSYNC" });
        expect(() => append(store, 1)).toThrow("after a failed commit");
        expect(() => store.compact(store.appliedIndex)).toThrow("after a failed commit");
        store.close();
        mend();
        const again = openStore(path);
        expect(again.load().last.index as number).toBeGreaterThanOrEqual(acknowledged);
        expect(again.load().applied).toBe(again.load().last.index);
        expect(again.state?.tokens).toHaveLength(again.appliedIndex - 1);
        expect(acknowledged).toBeGreaterThan(200);
        again.close();
      }),
  );

  test("any other failure: not that it is full, and the store takes nothing more", () =>
    inDirectory(async (directory) => {
      const path = formIn(directory);
      openStore(path).close();
      // A limit on the size of files is no full disk: the kernel answers EFBIG.
      const blocks = Math.ceil(statSync(path).size / 512) + 256;
      const child = Bun.spawn(
        ["sh", "-c", 'trap "" XFSZ; ulimit -f "$1"; exec "$2" "$3" "$4" "$5"', "sh", String(blocks)].concat([
          process.execPath,
          join(import.meta.dir, "writer.ts"),
          "until-refused",
          path,
        ]),
        { stdout: "pipe", stderr: "inherit" },
      );
      const lines = (await new Response(child.stdout).text()).trim().split("\n");
      expect(await child.exited).toBe(0);
      const [code, after] = lines.slice(-2);
      expect(code).toStartWith("SQLITE_IOERR");
      expect(after).toBe("broken promise: nothing is written after a failed commit");
      const acknowledged = Number(lines.findLast((line) => /^\d+$/.test(line)));
      expect(acknowledged).toBeGreaterThan(2);
      const store = openStore(path);
      expect(store.load().last.index as number).toBeGreaterThanOrEqual(acknowledged);
      expect(store.load().applied).toBe(store.load().last.index);
      store.close();
    }));
});
