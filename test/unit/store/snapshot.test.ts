import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId, LogIndex, Term } from "../../../src/base/ids.ts";
import type { Entry } from "../../../src/raft/engine/message.ts";
import { type SnapshotFile, verifySnapshot } from "../../../src/store/snapshot-file.ts";
import type { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { historyOf, live } from "./history.ts";
import {
  CLUSTER,
  commandEntry,
  configEntry,
  configOf,
  entry,
  formIn,
  inDirectory,
  joinIn,
  M1,
  M2,
  openStore,
  tokenCommand,
  write,
} from "./sample.ts";

// A busy machine takes its time.
setDefaultTimeout(60_000);

const index = (value: number) => value as LogIndex;
const hard = (term: number, commit: number) => ({ term: term as Term, vote: M1, commit: index(commit) });

/** A formed store that lived through `entries`, and the snapshot of it. */
function sourceIn(
  directory: string,
  entries: readonly Entry[],
): { store: SqliteLogStore; file: SnapshotFile } {
  const place = join(directory, "source");
  mkdirSync(place);
  const store = openStore(formIn(place));
  live(store, entries, 8);
  return { store, file: store.writeSnapshot(join(directory, "snapshot")) };
}

function install(store: SqliteLogStore, { path, meta }: SnapshotFile, entries: readonly Entry[] = []) {
  const last = entries.at(-1)?.index ?? meta.index;
  return write(store, {
    snapshot: { meta, content: path },
    entries,
    committed: entries,
    hard: hard(Math.max(meta.term, store.load().hard.term), last),
  });
}

describe("a snapshot", () => {
  test("carries everything: state, events, answers, sessions, configuration and hash", () =>
    inDirectory((directory) => {
      const { store: source, file } = sourceIn(directory, historyOf(1, 120));
      const path = joinIn(directory);
      let target = openStore(path);
      install(target, file);
      const look = (store: SqliteLogStore) => ({
        state: store.state,
        events: store.readEvents(0, 1e6),
        applied: store.appliedIndex,
        hash: store.stateHash(),
        sessions: store.sessionCount,
      });
      expect(look(target)).toEqual(look(source));
      expect(look(source).hash).not.toBeNull();
      expect(look(source).sessions).toBe(3);
      target.close();
      target = openStore(path);
      expect(look(target)).toEqual(look(source));
      const { floor, floorConfig, configs, last, applied, hard: kept } = target.load();
      expect({ floor, floorConfig, configs, last, applied, kept }).toEqual({
        floor: { index: index(120), term: 1 as Term },
        floorConfig: file.meta.config,
        configs: [],
        last: { index: index(120), term: 1 as Term },
        applied: index(120),
        kept: hard(1, 120),
      });
      target.close();
      source.close();
    }));

  test("is the same bytes on every member at the same index, also on one that got it as a snapshot", () =>
    inDirectory((directory) => {
      const history = historyOf(2, 260);
      const { store: source, file } = sourceIn(directory, history.slice(0, 148));
      const target = openStore(joinIn(directory));
      install(target, file);
      const rest = history.slice(148);
      live(source, rest, 1);
      live(target, rest, 50);
      const ours = source.writeSnapshot(join(directory, "ours"));
      const theirs = target.writeSnapshot(join(directory, "theirs"));
      expect({ ...ours, path: "" }).toEqual({ ...theirs, path: "" });
      expect(readFileSync(ours.path).equals(readFileSync(theirs.path))).toBe(true);
      expect(readFileSync(ours.path).equals(readFileSync(file.path))).toBe(false);
      source.close();
      target.close();
    }));

  test("replaces a conflicting log, and the entries of its batch follow it", () =>
    inDirectory((directory) => {
      const { store: source, file } = sourceIn(directory, historyOf(3, 40));
      const path = joinIn(directory);
      let target = openStore(path);
      const stale = [configEntry(1, 1, [M1]), entry(2, 1, "noop"), entry(3, 1, "noop")];
      // More than the snapshot holds, of a leader that lost.
      const lost = Array.from({ length: 60 }, (_, at) => entry(at + 4, 1, "noop"));
      write(target, { entries: [...stale, ...lost], hard: hard(2, 0) });
      const next = commandEntry(41, 2, tokenCommand("after"));
      const replies = install(target, file, [next]);
      expect(replies.map((reply) => reply.index)).toEqual([index(41)]);
      target.close();
      target = openStore(path);
      expect(target.load()).toMatchObject({
        last: { index: 41, term: 2 },
        floor: { index: 40, term: 1 },
        applied: 41,
      });
      expect(target.read(index(41), 10, 1e6)).toHaveLength(1);
      expect(target.termAt(index(40)) as number | null).toBe(1);
      expect(target.termAt(index(39))).toBeNull();
      expect(target.state?.tokens.some(({ id }) => id === "after")).toBe(true);
      target.close();
      source.close();
    }));

  test("is never installed over a state that is further", () =>
    inDirectory((directory) => {
      const { store, file } = sourceIn(directory, historyOf(7, 20));
      const before = store.writeSnapshot(join(directory, "before"));
      expect(() => install(store, file)).toThrow("never takes the state back");
      store.close();
      const again = openStore(join(directory, "source", "guacamole.db"));
      expect(again.writeSnapshot(join(directory, "after")).sha256).toBe(before.sha256);
      again.close();
    }));

  test("names its configuration by the entry that brought it, also after that entry was compacted away", () =>
    inDirectory((directory) => {
      const config = configEntry(5, 1, [M1, M2]);
      const entries = [3, 4, 5, 6, 7].map((at) => (at === 5 ? config : entry(at, 1, "noop")));
      const { store, file } = sourceIn(directory, entries);
      const placed = { index: index(5), config: configOf([M1, M2]) };
      expect(file.meta).toEqual({ index: index(7), term: 1 as Term, config: placed });
      store.compact(index(6));
      expect(store.load().floorConfig).toEqual(placed);
      // A later configuration that is not applied is not part of it.
      write(store, { entries: [configEntry(8, 1, [M1])], hard: hard(1, 7) });
      expect(store.writeSnapshot(join(directory, "later")).meta.config).toEqual(placed);
      store.close();
    }));

  test("is found good by whoever received it, with its size and checksum", () =>
    inDirectory((directory) => {
      const { store, file } = sourceIn(directory, historyOf(4, 60));
      expect(verifySnapshot(file.path, CLUSTER)).toEqual(file);
      expect(verifySnapshot(file.path, null)).toEqual(file);
      expect(file.bytes).toBe(statSync(file.path).size);
      expect(statSync(file.path).mode & 0o777).toBe(0o600);
      const bytes = readFileSync(file.path);
      expect(file.sha256).toBe(new Bun.CryptoHasher("sha256").update(bytes).digest("hex"));
      expect(readdirSync(directory).filter((name) => name.endsWith(".new"))).toEqual([]);
      store.close();
    }));

  test("of 10,000 events is written and installed in portions", () =>
    inDirectory((directory) => {
      const many = Array.from({ length: 10_500 }, (_, at) => commandEntry(at + 3, 1, tokenCommand(`c${at}`)));
      const { store: source, file } = sourceIn(directory, []);
      live(source, many, 500);
      const large = source.writeSnapshot(file.path);
      const target = openStore(joinIn(directory));
      install(target, large);
      expect(target.readEvents(0, 1e6)).toEqual(source.readEvents(0, 1e6));
      expect(target.readEvents(0, 1e6)).toHaveLength(10_000);
      source.close();
      target.close();
    }));
});

describe("what is no good snapshot is refused, and nothing changes", () => {
  /** Tries to install whatever `spoil` makes of a good one. */
  const attempt = (spoil: (bytes: Buffer) => Uint8Array, reason: string | RegExp) =>
    inDirectory((directory) => {
      const { store: source, file } = sourceIn(directory, historyOf(5, 60));
      source.close();
      writeFileSync(file.path, spoil(readFileSync(file.path)));
      expect(() => verifySnapshot(file.path, CLUSTER)).toThrow(reason);
      const path = joinIn(directory);
      let target = openStore(path);
      const before = [configEntry(1, 1, [M1]), commandEntry(2, 1, tokenCommand("x"))];
      write(target, { entries: before, hard: hard(1, 0) });
      expect(() => install(target, file)).toThrow(reason);
      target.close();
      target = openStore(path);
      expect(target.load()).toMatchObject({ last: { index: 2 }, applied: 0, floor: { index: 0 } });
      expect(target.state).toBeNull();
      target.close();
    });

  test("one that ends early", () => attempt((bytes) => bytes.subarray(0, -20), "its end is missing"));
  test("one that ends early, at the end of a line", () =>
    attempt((bytes) => bytes.subarray(0, bytes.lastIndexOf(0x0a, -2) + 1), "its end is missing"));
  test("one with something after its end", () =>
    attempt((bytes) => Buffer.concat([bytes, Buffer.from("[]\n")]), "something follows its end"));
  test("one with a missing row", () =>
    attempt((bytes) => {
      const second = bytes.indexOf(0x0a) + 1;
      return Buffer.concat([bytes.subarray(0, second), bytes.subarray(bytes.indexOf(0x0a, second) + 1)]);
    }, "do not match its checksum"));
  test("one of a newer version", () =>
    attempt(
      (bytes) => Buffer.from(bytes.toString().replace('"version":1', '"version":2')),
      "newer version of guacamole (format 2, this version reads 1)",
    ));
  test("one of another cluster", () =>
    attempt(
      (bytes) => Buffer.from(bytes.toString().replace(CLUSTER, "99999999-9999-4999-8999-999999999999")),
      `not of ${CLUSTER}`,
    ));
  test("a file of another kind", () => attempt(() => Buffer.from("hello\n"), "is not a snapshot"));
  test("an empty file", () => attempt(() => Buffer.alloc(0), "is not a snapshot"));

  test("one with a flipped bit, wherever it is", () =>
    inDirectory((directory) => {
      const { store, file } = sourceIn(directory, historyOf(6, 40));
      store.close();
      const good = readFileSync(file.path);
      for (let at = 0; at < good.byteLength; at += 11) {
        const bytes = Buffer.from(good);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
        writeFileSync(file.path, bytes);
        expect(() => verifySnapshot(file.path, CLUSTER)).toThrow(file.path);
      }
      writeFileSync(file.path, good);
      expect(verifySnapshot(file.path, CLUSTER)).toEqual(file);
    }));

  test("one that is not there", () =>
    inDirectory((directory) => {
      const path = join(directory, "nowhere");
      expect(() => verifySnapshot(path, "x" as ClusterId)).toThrow(`cannot read the snapshot ${path}`);
      expect(existsSync(path)).toBe(false);
    }));
});
