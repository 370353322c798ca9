import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TimelineId } from "../../../src/base/ids.ts";
import type { Lsn } from "../../../src/base/lsn.ts";
import { AutoConfWatch, cleanAutoConf, withoutOwnedSettings } from "../../../src/postgres/auto-conf.ts";
import { parseCopyProgress } from "../../../src/postgres/clone.ts";
import { quoteConninfoValue } from "../../../src/postgres/conninfo.ts";
import { parseControlData } from "../../../src/postgres/control-data.ts";
import { parseForkName, parseTransaction } from "../../../src/postgres/forks.ts";
import { failedBeforeTouching } from "../../../src/postgres/rewind.ts";
import { doubtfulLimits } from "../../../src/postgres/standby-limits.ts";
import { historyFileName, parseTimelineHistory } from "../../../src/postgres/timeline-history.ts";
import { fitsMemory, saidOf } from "../../../src/postgres/try-config.ts";
import { parseServerVersion } from "../../../src/postgres/versions.ts";
import { parseWalSegment, segmentsFrom } from "../../../src/postgres/wal-segments.ts";

const SEGMENT_BYTES = 16 * 1024 * 1024;

const NEEDED = {
  max_connections: 200,
  max_worker_processes: 8,
  max_wal_senders: 10,
  max_prepared_transactions: 0,
  max_locks_per_transaction: 64,
};

describe("what a standby with this data needs at least", () => {
  test("is asked of PostgreSQL only where the files may say less", () => {
    expect(doubtfulLimits(["max_connections = 200\n"], NEEDED)).toEqual([]);
    expect(doubtfulLimits(["  Max_Connections 300 # many\n"], NEEDED)).toEqual([]);
    expect(doubtfulLimits(["#max_connections = 200\n"], NEEDED)).toEqual(["max_connections"]);
    expect(doubtfulLimits(["max_connections = '100'\n", "max_connections = 200\n"], NEEDED)).toEqual([
      "max_connections",
    ]);
    expect(doubtfulLimits(["max_connections = 0xff\n"], NEEDED)).toEqual(["max_connections"]);
    expect(doubtfulLimits(["max_connections = 200\nmax_wal_senders=5"], NEEDED)).toEqual(["max_wal_senders"]);
    expect(doubtfulLimits(["max_connections = 200\ninclude_dir 'conf.d'\n"], NEEDED)).toHaveLength(5);
  });
});

describe("pg_controldata", () => {
  const text = [
    "Database system identifier:           7575757575757575757",
    "Database cluster state:               in archive recovery",
    "Latest checkpoint location:           0/3000148",
    "Latest checkpoint's REDO location:    0/3000110",
    "Latest checkpoint's TimeLineID:       2",
    "Min recovery ending loc's timeline:   3",
    "Bytes per WAL segment:                16777216",
    "WAL block size:                       8192",
    "max_connections setting:              200",
    "max_worker_processes setting:         8",
    "max_wal_senders setting:              10",
    "max_prepared_xacts setting:           0",
    "max_locks_per_xact setting:           64",
  ];

  test("the timeline is the newest that the control file knows of", () => {
    expect(parseControlData(text.join("\n"))).toEqual({
      ok: true,
      value: {
        systemIdentifier: "7575757575757575757",
        timeline: 3 as TimelineId,
        checkpointTimeline: 2 as TimelineId,
        checkpointLsn: 0x3000148 as Lsn,
        redoLsn: 0x3000110 as Lsn,
        state: "in archive recovery",
        walSegmentBytes: SEGMENT_BYTES,
        walPageBytes: 8192,
        consistentAt: null,
        limits: NEEDED,
      },
    });
  });

  test.each([
    ["a standby's files reach as far as it has flushed", ["0/5000060", "0/0", "0/0"], 0x5000060],
    [
      "a rewound server's as far as its source had written",
      ["0/5000060", "0/4000028", "0/5000060"],
      0x5000060,
    ],
    ["those of a standby's backup as far as it had got", ["0/4000028", "0/4000028", "0/5000060"], 0x5000060],
    ["of a primary's backup it is not known", ["0/4000028", "0/4000028", "0/0"], null],
    ["a server that was a primary recovers with what it has", ["0/0", "0/0", "0/0"], null],
  ])("%s", (_, [minimum, start, end], reach) => {
    const lines = [
      ...text,
      `Minimum recovery ending location:     ${minimum}`,
      `Backup start location:                ${start}`,
      `Backup end location:                  ${end}`,
    ];
    const parsed = parseControlData(lines.join("\n"));
    const expected = reach === null ? null : { timeline: 3 as TimelineId, lsn: reach as Lsn };
    expect(parsed).toMatchObject({ ok: true, value: { consistentAt: expected } });
  });

  test("something else is refused, not guessed", () => {
    for (const missing of [0, 1, 2, 3, 4, 6, 7]) {
      expect(parseControlData(text.filter((_, index) => index !== missing).join("\n")).ok).toBe(false);
    }
  });
});

test("a timeline history lists ancestors, oldest first, and passes over comments", () => {
  expect(
    parseTimelineHistory("# made by hand\n1\t0/2000000\tno recovery target specified\n\n2\t1/A0\twhy\n"),
  ).toEqual([
    { timeline: 1 as TimelineId, endLsn: 0x2000000 as Lsn },
    { timeline: 2 as TimelineId, endLsn: (2 ** 32 + 0xa0) as Lsn },
  ]);
  expect(historyFileName(26 as TimelineId)).toBe("0000001A.history");
});

test("a fork's WAL begins with the segment that holds the fork", () => {
  const names = [
    "000000020000000000000003",
    "000000020000000000000004",
    "000000020000000000000005.partial",
    "000000010000000000000004",
    "00000002.history",
    "archive_status",
  ];
  const fork = (4 * SEGMENT_BYTES + 5) as Lsn;
  expect(segmentsFrom(names, 2 as TimelineId, fork, SEGMENT_BYTES).map(({ name }) => name)).toEqual([
    "000000020000000000000004",
    "000000020000000000000005.partial",
  ]);
  expect(parseWalSegment("000000020000000100000000", SEGMENT_BYTES)?.startLsn).toBe((2 ** 32) as Lsn);
});

test("of a trial PostgreSQL's own words are told, and shared memory beyond the host's is refused", () => {
  const stderr = [
    '2026-01-01 00:00:00.000 GMT [1] LOG:  skipping missing configuration file "/x/postgresql.auto.conf"',
    '2026-01-01 00:00:00.000 GMT [1] LOG:  invalid value for parameter "shared_buffers": "64TB"',
    "2026-01-01 00:00:00.000 GMT [1] HINT:  Value exceeds integer range.",
    '2026-01-01 00:00:00.000 GMT [1] FATAL:  configuration file "/x/postgresql.conf" contains errors',
    "",
  ].join("\n");
  expect(saidOf(stderr)).toBe(
    'invalid value for parameter "shared_buffers": "64TB"; Value exceeds integer range.',
  );
  expect(saidOf("postgres: max_wal_senders (9) must be less than max_connections (9)\n")).toContain(
    "must be less",
  );
  expect(fitsMemory(2 ** 30, 2 ** 31)).toEqual({ ok: true, value: null });
  expect(fitsMemory(2 ** 31, 2 ** 30)).toMatchObject({ ok: false });
  // A number that PostgreSQL did not say in the form that is known is no reason to refuse.
  expect(fitsMemory(Number.NaN, 2 ** 30).ok).toBe(true);
});

test("what ALTER SYSTEM says of owned settings is seen, named and taken out; only a changed file is read", () => {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-auto-conf-"));
  const file = join(directory, "postgresql.auto.conf");
  const owned = new Set(["work_mem"]);
  const watch = new AutoConfWatch();
  expect(watch.isClean(directory, owned)).toBe(true);
  writeFileSync(file, "# x\nWork_Mem = '1GB'\njit = 'off'\n");
  expect([watch.isClean(directory, owned), watch.isClean(directory, new Set(["port"]))]).toEqual([
    false,
    true,
  ]);
  expect(cleanAutoConf(directory, owned)).toEqual(["work_mem"]);
  expect(cleanAutoConf(directory, owned)).toEqual([]);
  expect(watch.isClean(directory, owned)).toBe(true);
  expect(readFileSync(file, "utf8")).toBe("# x\njit = 'off'\n");
  rmSync(directory, { recursive: true });
});

test("owned settings leave postgresql.auto.conf, everything else stays", () => {
  const text = "# Do not edit\nwork_mem = '5MB'\n  Primary_ConnInfo = 'host=x'\nport=1\nportable.x = 1\n";
  expect(withoutOwnedSettings(text, new Set(["primary_conninfo", "port"]))).toBe(
    "# Do not edit\nwork_mem = '5MB'\nportable.x = 1\n",
  );
});

test("progress of pg_basebackup and pg_rewind", () => {
  expect(parseCopyProgress("  2301/3023 kB (76%), 0/1 tablespace")).toEqual({
    doneBytes: 2301 * 1024,
    totalBytes: 3023 * 1024,
  });
  expect(parseCopyProgress("waiting for checkpoint")).toBeNull();
});

test("only a rewind that never reached its source may be tried again", () => {
  const refused = 'pg_rewind: error: connection to server at "127.0.0.1", port 1 failed: Connection refused';
  expect(failedBeforeTouching(refused)).toBe(true);
  expect(failedBeforeTouching(`pg_rewind: servers diverged at WAL location 0/3000000\n${refused}`)).toBe(
    false,
  );
  expect(failedBeforeTouching("pg_rewind: error: could not find previous WAL record at 0/3000000")).toBe(
    false,
  );
});

test("versions as PostgreSQL's programs write them", () => {
  expect(parseServerVersion("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")).toEqual({
    version: "15.18",
    major: 15,
  });
  expect(parseServerVersion("postgres (PostgreSQL) 19beta1")).toEqual({ version: "19beta1", major: 19 });
  expect(parseServerVersion("bash: postgres: not found")).toBeNull();
});

test("a value cannot leave its quotes in a connection string", () => {
  expect(quoteConninfoValue("a'b\\c")).toBe("'a\\'b\\\\c'");
});

describe("a fork that was kept", () => {
  test("is named after where it turned off", () => {
    expect(parseForkName("2-0_3000148")).toEqual({ timeline: 2 as TimelineId, forkLsn: 0x3000148 as Lsn });
    expect(parseForkName("2-0_3000148.tmp")).toBeNull();
  });

  const line = (desc: string) =>
    `rmgr: Transaction len (rec/tot):     34/    34, tx:        740, lsn: 0/03000200, prev 0/030001C8, desc: ${desc}`;

  test.each([
    ["COMMIT 2026-11-25 21:00:00.5 UTC", "commit"],
    ["COMMIT 2026-11-25 21:00:00.5 UTC; rels: base/5/16384; inval msgs: catcache 80", "commit"],
    ["COMMIT_PREPARED 740: 2026-11-25 21:00:00.5 UTC", "commit"],
    ["PREPARE gid order 7: 2026-11-25 21:00:00.5 UTC", "prepare"],
  ] as const)("%s is told", (desc, kind) => {
    const at = "2026-11-25 21:00:00.5 UTC";
    expect(parseTransaction(line(desc))).toEqual({ transactionId: 740, kind, at, lsn: 0x3000200 as Lsn });
  });

  test.each(["ABORT 2026-11-25 21:00:00.5 UTC", "ASSIGNMENT xtop 740: subxacts: 741"])(
    "%s commits nothing",
    (desc) => expect(parseTransaction(line(desc))).toBeNull(),
  );
});
