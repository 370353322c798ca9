/** How far a server gets with the WAL in its directory, and what a rewind leaves of it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import { forgetCommonWal, keepCommonWal, putCommonWalBack } from "../../../src/postgres/common-wal.ts";
import { backupStart, completeWalUntil, oldestWal } from "../../../src/postgres/wal-segments.ts";

const FORM = { segmentBytes: 4 * 8192, pageBytes: 8192 };
const lsn = (segment: number, offset = 0) => (segment * FORM.segmentBytes + offset) as Lsn;
let dataDirectory: string;
let walDirectory: string;
beforeEach(() => {
  dataDirectory = mkdtempSync(join(tmpdir(), "wal-"));
  walDirectory = join(dataDirectory, "pg_wal");
  mkdirSync(join(walDirectory, "archive_status"), { recursive: true });
});
afterEach(() => rmSync(dataDirectory, { recursive: true }));

const nameOf = (segment: number, timeline = 1) =>
  `${timeline.toString(16).padStart(8, "0")}00000000${segment.toString(16).padStart(8, "0")}`.toUpperCase();

/** `pages` of it were written as this segment; the rest says what stood there when the file had another name. */
function write(segment: number, pages = 4, timeline = 1): void {
  const bytes = Buffer.alloc(FORM.segmentBytes);
  for (let page = 0; page < 4; page += 1) {
    const position = (page < pages ? lsn(segment) : lsn(segment - 1)) + page * FORM.pageBytes;
    bytes.writeBigUInt64LE(BigInt(position), page * FORM.pageBytes + 8);
  }
  writeFileSync(join(walDirectory, nameOf(segment, timeline)), bytes);
}

const until = (from: Lsn) => completeWalUntil(walDirectory, from, FORM);

describe("a server gets with its WAL", () => {
  test("to the first segment that is missing", () => {
    for (const segment of [3, 4, 6]) write(segment);
    expect(until(lsn(3, 100))).toBe(lsn(5));
    expect(until(lsn(6))).toBe(lsn(7));
    expect(until(lsn(2, 8))).toBe(lsn(2));
  });

  test("to a segment that is not full, or was only given its name", () => {
    write(3);
    write(4, 3);
    write(5);
    expect(until(lsn(3))).toBe(lsn(4));
    write(4, 0);
    expect(until(lsn(3))).toBe(lsn(4));
    writeFileSync(join(walDirectory, nameOf(4)), "");
    expect(until(lsn(3))).toBe(lsn(4));
  });

  test("over a change of timelines, whichever of them has the segment to its end", () => {
    write(3);
    write(4, 2);
    write(4, 4, 2);
    write(5, 4, 2);
    expect(until(lsn(3))).toBe(lsn(6));
  });

  test("nowhere without a directory", () => {
    rmSync(walDirectory, { recursive: true });
    expect([oldestWal(walDirectory, FORM.segmentBytes), until(lsn(3, 7))]).toEqual([null, lsn(3)]);
  });
});

test("the oldest WAL is that of the first segment, whatever timeline and whatever else lies there", () => {
  expect(oldestWal(walDirectory, FORM.segmentBytes)).toBeNull();
  write(7);
  write(5, 4, 2);
  writeFileSync(join(walDirectory, "00000002.history"), "");
  expect(oldestWal(walDirectory, FORM.segmentBytes)).toBe(lsn(5));
});

test("a backup label says where recovery begins", () => {
  expect(backupStart(dataDirectory)).toBeNull();
  const label =
    "START WAL LOCATION: 0/67A8C4A0 (file 00000007000000000000019E)\nCHECKPOINT LOCATION: 0/867E9028\n";
  writeFileSync(join(dataDirectory, "backup_label"), label);
  expect(backupStart(dataDirectory)).toBe(0x67a8c4a0 as Lsn);
});

describe("a rewind", () => {
  const keptDirectory = () => join(dataDirectory, "kept");
  const names = () => readdirSync(walDirectory).filter((name) => name !== "archive_status");
  const statuses = () => readdirSync(join(walDirectory, "archive_status")).sort();
  const keep = (forkLsn: Lsn) =>
    keepCommonWal({
      dataDirectory,
      keptDirectory: keptDirectory(),
      segmentBytes: FORM.segmentBytes,
      forkTimeline: 2 as TimelineId,
      forkLsn,
    });
  const putBack = () => putCommonWalBack({ dataDirectory, keptDirectory: keptDirectory() });

  test("leaves what both had before the fork, with what was said of its archiving", () => {
    write(3);
    for (const segment of [4, 5, 6]) write(segment, 4, 2);
    write(4, 4, 3);
    writeFileSync(join(walDirectory, "archive_status", `${nameOf(3)}.done`), "");
    writeFileSync(join(walDirectory, "archive_status", `${nameOf(4, 2)}.ready`), "");
    keep(lsn(5, 300));
    const own = readFileSync(join(walDirectory, nameOf(4, 2)));
    // As pg_rewind does it: the source has neither, and another one of the same name.
    for (const name of names()) rmSync(join(walDirectory, name));
    for (const name of statuses()) rmSync(join(walDirectory, "archive_status", name));
    write(5, 4, 3);
    expect(putBack()).toBe(2);
    expect(names().sort()).toEqual([nameOf(3), nameOf(4, 2), nameOf(5, 3)]);
    expect(statuses()).toEqual([`${nameOf(3)}.done`, `${nameOf(4, 2)}.ready`]);
    expect(readFileSync(join(walDirectory, nameOf(4, 2))).equals(own)).toBe(true);
    forgetCommonWal(keptDirectory());
    expect(putBack()).toBe(0);
  });

  test("takes nothing for common that reaches beyond the fork, and replaces nothing", () => {
    write(4, 4, 2);
    write(5, 4, 2);
    keep(lsn(5));
    write(4, 1, 2);
    rmSync(join(walDirectory, nameOf(5, 2)));
    expect(putBack()).toBe(0);
    expect(names()).toEqual([nameOf(4, 2)]);
  });
});
