import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { Log } from "../../../src/base/log.ts";
import {
  type DownloadPorts,
  removeStale,
  SnapshotDownload,
  STALE_MS,
} from "../../../src/main/snapshot-download.ts";
import { CHUNK_BYTES, parseOffer, type SnapshotOffer } from "../../../src/main/snapshot-offer.ts";
import {
  SnapshotUploads,
  STALLED_MS,
  type StoredSnapshot,
  UPLOADS_MAX,
} from "../../../src/main/snapshot-uploads.ts";
import { eventually } from "./members.ts";

const id = (number: number) => `00000000-0000-4000-8000-00000000000${number}` as MemberId;
const META = {
  index: 9 as LogIndex,
  term: 2 as Term,
  config: { index: 1 as LogIndex, config: { voters: [id(1)], outgoing: [], learners: [], learnersNext: [] } },
};
const quiet: Log = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
};
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const content = new Uint8Array(3 * CHUNK_BYTES + 17).map((_, at) => (at * 31) % 251);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "guacamole-snapshots-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("the leader's side", () => {
  function world() {
    const at = { nowMs: 0, isUsable: true, writes: 0, isFull: false };
    const offers: [MemberId, string][] = [];
    const ended: MemberId[] = [];
    const refuses = new Set<MemberId>();
    const path = join(directory, "outgoing");
    const stored = (bytes: Uint8Array): StoredSnapshot => ({
      path,
      meta: META,
      bytes: bytes.byteLength,
      sha256: sha256(bytes),
    });
    const uploads = new SnapshotUploads({
      path,
      log: quiet,
      nowMs: () => at.nowMs,
      term: () => 3 as Term,
      write: () => {
        if (at.isFull) throw new Error("the disk is full");
        at.writes += 1;
        const bytes = content.slice(0, content.byteLength - at.writes + 1);
        writeFileSync(path, bytes);
        return stored(bytes);
      },
      find: () => (existsSync(path) ? stored(readFileSync(path)) : null),
      isUsable: () => at.isUsable,
      offer: (to, offer) => {
        offers.push([to, offer.id]);
        return refuses.has(to) ? Promise.reject(new Error("no")) : Promise.resolve();
      },
      ended: (to) => ended.push(to),
    });
    return { at, offers, ended, refuses, path, uploads };
  }

  test("one file serves many, a few at a time, and goes when nobody needs it", () => {
    const { at, offers, ended, path, uploads } = world();
    for (const to of [2, 3, 4]) uploads.wanted(id(to));
    expect(offers.map(([to]) => to)).toEqual([id(2), id(3)]);
    expect(UPLOADS_MAX).toBe(2);
    const [[, name] = [id(2), ""]] = offers;
    const received: Uint8Array[] = [];
    for (let offset = 0; offset < content.byteLength; offset += CHUNK_BYTES)
      received.push(uploads.read(id(2), name, offset));
    expect(Buffer.concat(received).equals(content)).toBe(true);
    expect(() => uploads.read(id(4), name, 0)).toThrow("not offered");
    expect(() => uploads.read(id(2), "another", 0)).toThrow("not offered");
    expect(() => uploads.read(id(2), name, content.byteLength)).toThrow("bytes");
    uploads.done(id(2), name, null);
    expect(offers.map(([to]) => to)).toEqual([id(2), id(3), id(4)]);
    uploads.done(id(3), name, null);
    expect(existsSync(path)).toBe(true);
    uploads.done(id(4), name, null);
    expect([at.writes, existsSync(path), ended]).toEqual([1, false, [id(2), id(3), id(4)]]);
  });

  test("who pulls nothing loses its place to the next", () => {
    const { at, offers, ended, uploads } = world();
    for (const to of [2, 3, 4]) uploads.wanted(id(to));
    const name = offers[0]?.[1] ?? "";
    at.nowMs = STALLED_MS - 1;
    uploads.read(id(3), name, 0);
    at.nowMs = STALLED_MS;
    uploads.look();
    expect(offers.map(([to]) => to)).toEqual([id(2), id(3), id(4)]);
    expect(ended).toEqual([]);
    at.nowMs += 500;
    uploads.look();
    expect(ended).toEqual([id(2)]);
    expect(() => uploads.read(id(2), name, 0)).toThrow("not offered");
  });

  test("what fails is tried again later and later, and at once when the member is back", async () => {
    const { at, ended, refuses, uploads } = world();
    refuses.add(id(2));
    uploads.wanted(id(2));
    await Promise.resolve();
    await Promise.resolve();
    const waitedMs: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const sinceMs = at.nowMs;
      for (const before = ended.length; ended.length === before; at.nowMs += 100) uploads.look();
      waitedMs.push(at.nowMs - sinceMs);
      uploads.wanted(id(2));
      await Promise.resolve();
      await Promise.resolve();
    }
    expect(waitedMs).toEqual([600, 1100, 2100]);
    uploads.reconnected(id(2));
    expect(ended).toHaveLength(4);
  });

  test("a disk without room is a failure like any other", () => {
    const { at, ended, uploads } = world();
    at.isFull = true;
    uploads.wanted(id(2));
    at.nowMs = 500;
    uploads.look();
    expect(ended).toEqual([id(2)]);
  });

  test("a file that the log has left behind is written anew; one of an earlier life is taken over", () => {
    const { at, offers, uploads } = world();
    uploads.wanted(id(2));
    at.isUsable = false;
    uploads.wanted(id(3));
    expect(at.writes).toBe(2);
    expect(offers[0]?.[1]).not.toBe(offers[1]?.[1]);
    uploads.close();
    const again = world();
    again.uploads.wanted(id(2));
    expect(again.at.writes).toBe(0);
    expect(again.offers[0]?.[1]).toBe(offers[1]?.[1] ?? "");
  });

  test("a restarted follower is offered the same again; when the leadership is lost nobody is served", () => {
    const { offers, uploads } = world();
    uploads.wanted(id(2));
    uploads.reconnected(id(2));
    uploads.reconnected(id(3));
    expect(offers.map(([to]) => to)).toEqual([id(2), id(2)]);
    uploads.stop();
    expect(() => uploads.read(id(2), offers[0]?.[1] ?? "", 0)).toThrow("not offered");
    expect(uploads.activeCount).toBe(0);
  });
});

describe("the follower's side", () => {
  const offer: SnapshotOffer = {
    id: sha256(content),
    bytes: content.byteLength,
    term: 3 as Term,
    meta: META,
  };

  function world(ports: Partial<DownloadPorts> = {}) {
    const asked: number[] = [];
    const reports: (string | null)[] = [];
    const installed: Uint8Array[] = [];
    const at = { cutAfterCalls: Number.POSITIVE_INFINITY };
    const download = new SnapshotDownload({
      directory,
      log: quiet,
      openBulk: async () => ({
        call: async (_method, payload) => {
          const { offset } = payload as { offset: number };
          if (asked.length >= at.cutAfterCalls) throw new Error("cut");
          asked.push(offset);
          return content.slice(offset, offset + CHUNK_BYTES);
        },
        close: () => undefined,
      }),
      verify: (path) => sha256(readFileSync(path)),
      install: (_from, _offer, path) => installed.push(readFileSync(path)),
      report: (_to, _id, error) => reports.push(error),
      ...ports,
    });
    return { at, asked, reports, installed, download };
  }

  test("pulls chunk after chunk, checks the whole, and leaves nothing behind", async () => {
    const { asked, reports, installed, download } = world();
    download.offered(id(1), offer);
    download.offered(id(1), offer);
    await eventually(() => reports.length > 0);
    expect(asked).toEqual([0, 1, 2, 3].map((chunk) => chunk * CHUNK_BYTES));
    expect(reports).toEqual([null]);
    expect(installed.map((bytes) => Buffer.from(bytes).equals(content))).toEqual([true]);
    expect(readdirSync(directory)).toEqual([]);
    expect(download.isRunning).toBe(false);
  });

  test("goes on where it stopped, in this life and in the next", async () => {
    const first = world();
    first.at.cutAfterCalls = 2;
    first.download.offered(id(1), offer);
    await eventually(() => first.asked.length === 2);
    first.download.abandon("another leader");
    const second = world();
    second.download.offered(id(2), { ...offer, term: 4 as Term });
    await eventually(() => second.reports.length > 0);
    expect(second.asked).toEqual([2, 3].map((chunk) => chunk * CHUNK_BYTES));
    expect(second.installed).toHaveLength(1);
  });

  test("bytes that are not what was announced are thrown away, and the leader is told", async () => {
    const other = { ...offer, id: sha256(new Uint8Array([1])) };
    const { reports, installed, download } = world();
    download.offered(id(1), other);
    await eventually(() => reports.length > 0);
    expect(reports[0]).toContain("checksum");
    expect(installed).toEqual([]);
    expect(readdirSync(directory)).toEqual([]);
    const damaged = world({
      verify: () => {
        throw new Error("a row is not whole");
      },
    });
    damaged.download.offered(id(1), offer);
    await eventually(() => damaged.reports.length > 0);
    expect(damaged.reports).toEqual(["a row is not whole"]);
  });

  test("another leader, or a newer snapshot, ends it: the bytes of the old one go when the new one comes", async () => {
    const { at, asked, reports, installed, download } = world();
    at.cutAfterCalls = 1;
    download.offered(id(1), offer);
    await eventually(() => asked.length === 1);
    download.abandonUnless(id(1), 3 as Term);
    expect(download.isRunning).toBe(true);
    download.abandonUnless(id(2), 4 as Term);
    expect([download.isRunning, readdirSync(directory).length]).toEqual([false, 1]);
    download.offered(id(2), { ...offer, id: sha256(new Uint8Array([2])), term: 4 as Term });
    expect(readdirSync(directory)).not.toContain(`incoming-${offer.id}`);
    download.abandon("the test ends");
    expect([reports, installed]).toEqual([[], []]);
  });

  test("answers that are no chunks of it are not written", async () => {
    const answers: unknown[] = [new Uint8Array(), "text", new Uint8Array(CHUNK_BYTES + 1)];
    const { reports, download } = world({
      openBulk: async () => ({
        call: async (_method, payload) => {
          const { offset } = payload as { offset: number };
          return answers.length > 0 ? answers.shift() : content.slice(offset, offset + CHUNK_BYTES);
        },
        close: () => undefined,
      }),
    });
    download.offered(id(1), offer);
    await eventually(() => reports.length > 0);
    expect([reports, answers]).toEqual([[null], []]);
  });

  test("what an earlier life left for too long is removed", () => {
    for (const [name, ageMs] of [
      ["incoming-old", STALE_MS + 1000],
      ["incoming-new", 1000],
      ["outgoing", STALE_MS * 2],
    ] as const) {
      const path = join(directory, name);
      writeFileSync(path, "x");
      utimesSync(path, (1e12 - ageMs) / 1000, (1e12 - ageMs) / 1000);
    }
    removeStale(directory, 1e12);
    expect(readdirSync(directory).toSorted()).toEqual(["incoming-new", "outgoing"]);
  });
});

describe("an offer", () => {
  const good = { id: "a".repeat(64), bytes: 5, term: 3, meta: META };

  test("is read as it was sent", () => {
    expect(parseOffer(JSON.parse(JSON.stringify(good)))).toEqual({ ...good, term: 3 as Term });
  });

  test.each([
    ["nothing", null],
    ["a path for a name", { ...good, id: "../../etc/passwd" }],
    ["no bytes", { ...good, bytes: 0 }],
    ["too many bytes", { ...good, bytes: 2 ** 40 }],
    ["no term", { ...good, term: -1 }],
    ["no place", { ...good, meta: { ...META, index: 1.5 } }],
    ["no configuration", { ...good, meta: { ...META, config: { index: 1, config: { voters: "all" } } } }],
  ])("with %s is none", (_, value) => expect(parseOffer(value)).toBeNull());
});
