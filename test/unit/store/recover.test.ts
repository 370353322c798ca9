import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId, LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import { encodeCommand } from "../../../src/cluster/command-codec.ts";
import { loadIdentity } from "../../../src/store/identity.ts";
import { readMarker, storePaths, writeMarker } from "../../../src/store/marker.ts";
import { type FollowUp, inspectStore, recoverGroup, restoreGroup } from "../../../src/store/recover.ts";
import { storeKeyPathOf } from "../../../src/store/store-key.ts";
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
  RULES,
  tokenCommand,
  write,
} from "./sample.ts";

const NEXT = "33333333-3333-4333-8333-333333333333" as ClusterId;
const M9 = "00000000-0000-4000-8000-000000000009" as MemberId;
const index = (value: number) => value as LogIndex;
const term = (value: number) => value as Term;

const followUp: FollowUp = (state) => [
  encodeCommand(tokenCommand("recovered", `after-${state?.tokens.length}`)),
];
const input = (databasePath: string, isDryRun = false) => ({
  databasePath,
  clusterId: NEXT,
  followUp,
  rules: RULES,
  isDryRun,
});

/**
 * A follower of three that stopped: entries up to 25, of which it knows 20 to be committed and has applied 18. The newest
 * configuration is among those that it does not know to be committed.
 */
function survivorIn(directory: string): string {
  const path = formIn(directory);
  const store = openStore(path);
  const entries = Array.from({ length: 23 }, (_, at) =>
    at === 20 ? configEntry(23, 2, [M1, M2, M9]) : commandEntry(at + 3, 2, tokenCommand(`c${at + 3}`)),
  );
  write(store, { entries, hard: { term: term(3), vote: M2, commit: index(20) } });
  write(store, { committed: entries.slice(0, 16), mustSync: false });
  store.close();
  return path;
}

/** Every file of a directory with what it holds. */
function filesIn(directory: string): ReadonlyMap<string, string> {
  return new Map(
    readdirSync(directory).map((name) => [name, readFileSync(join(directory, name)).toString("base64")]),
  );
}

/** Runs `body` with another place for what is temporary. */
function withTemporary<Result>(directory: string, body: () => Result): Result {
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = directory;
  try {
    return body();
  } finally {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
  }
}

describe("inspecting a stopped member", () => {
  test("tells who it is, how far it is and whether it is whole, and changes nothing", () =>
    inDirectory((directory) => {
      const path = survivorIn(directory);
      // As a kill leaves it: with a write-ahead log beside it.
      const store = openStore(path);
      write(store, { entries: [entry(26, 3, "noop")] });
      const killed = join(directory, "killed");
      mkdirSync(killed);
      for (const name of readdirSync(directory))
        if (name !== "killed") cpSync(join(directory, name), join(killed, name));
      store.close();
      const before = filesIn(killed);
      const aside = join(directory, "aside");
      mkdirSync(aside);
      const { state, ...rest } = withTemporary(aside, () => inspectStore(storePaths(killed).database));
      // Nor is a copy left anywhere: it has the keys of the cluster in it.
      expect(readdirSync(aside)).toEqual([]);
      expect(rest).toEqual({
        databasePath: storePaths(killed).database,
        flaws: [],
        marker: { clusterId: CLUSTER, memberId: M1, origin: "form" },
        identity: {
          clusterId: CLUSTER,
          memberId: M1,
          origin: "form",
          promotableFrom: index(0),
          peers: [],
          recoveryEpoch: 0,
        },
        hard: { term: term(3), vote: M2, commit: index(20) },
        floor: { index: index(0), term: term(0) },
        last: { index: index(26), term: term(3) },
        brokenAt: null,
        applied: index(18),
        config: { index: index(23), config: configOf([M1, M2, M9]) },
      });
      expect(state?.tokens).toHaveLength(17);
      expect(filesIn(killed)).toEqual(before);
    }));

  test("works on a damaged one, and says where it breaks", () =>
    inDirectory((directory) => {
      const path = survivorIn(directory);
      const raw = new Database(path);
      raw.run("UPDATE raft_log SET data = x'00' WHERE idx = 22");
      raw.run("UPDATE raft_hard SET vote = NULL");
      raw.close();
      const before = filesIn(directory);
      const found = inspectStore(path);
      expect(found).toMatchObject({
        brokenAt: 22,
        last: { index: 21, term: 2 },
        hard: { term: 3 },
        applied: 18,
        identity: { memberId: M1 },
        config: { index: 1 },
      });
      expect(found.flaws).toHaveLength(2);
      expect(found.flaws[0]).toContain(`the database ${path} is damaged: a row of raft_hard`);
      expect(found.flaws[1]).toContain(`the log in ${path} is damaged: entry 22 is not what was written`);
      expect(filesIn(directory)).toEqual(before);
    }));

  test("tells how far a damaged write-ahead log goes, and that more was there", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const store = openStore(path);
      const killed = join(directory, "killed");
      mkdirSync(killed);
      const copy = storePaths(killed).database;
      live(store, historyOf(33, 30), 1);
      for (const end of ["", "-wal"]) cpSync(`${path}${end}`, `${copy}${end}`);
      cpSync(storeKeyPathOf(path), storeKeyPathOf(copy));
      store.close();
      const wal = readFileSync(`${copy}-wal`);
      const middle = wal.byteLength >> 1;
      wal[middle] = (wal[middle] ?? 0) ^ 1;
      writeFileSync(`${copy}-wal`, wal);
      expect(() => openStore(copy)).toThrow("commits follow it");
      const { flaws, last, brokenAt, applied } = inspectStore(copy);
      expect(flaws).toEqual([expect.stringContaining(`the write-ahead log ${copy}-wal is damaged: frame`)]);
      expect(last?.index as number).toBeGreaterThan(2);
      expect(last?.index as number).toBeLessThan(30);
      expect(applied).toBe(last?.index as LogIndex);
      expect(brokenAt).toBeNull();
      expect(() => recoverGroup(input(copy))).toThrow("commits follow it");
      expect(readFileSync(`${copy}-wal`).equals(wal)).toBe(true);
    }));

  test("says of rubbish that it is rubbish, and of a foreign marker that it is foreign", () =>
    inDirectory((directory) => {
      const path = survivorIn(directory);
      writeMarker(storePaths(directory).marker, { clusterId: NEXT, memberId: M1, origin: "form" });
      expect(inspectStore(path).flaws).toEqual([
        expect.stringContaining(`${path} belongs to cluster ${CLUSTER}`),
      ]);
      writeFileSync(path, "rubbish, and a good deal of it".repeat(100));
      const { flaws, marker, ...rest } = inspectStore(path);
      expect(flaws).toEqual([expect.stringContaining(`cannot use the database ${path}`)]);
      expect(marker?.clusterId).toBe(NEXT);
      expect(Object.values(rest).filter((value) => value !== null)).toEqual([path]);
    }));

  test("is refused where there is nothing, and while somebody runs", () =>
    inDirectory((directory) => {
      const path = storePaths(directory).database;
      expect(() => inspectStore(path)).toThrow("there is no member in");
      writeFileSync(path, "");
      expect(() => inspectStore(path)).toThrow("there is no member in");
      rmSync(path);
      const store = openStore(survivorIn(directory));
      expect(() => inspectStore(path)).toThrow("is in use by a running guacamole");
      expect(() => recoverGroup(input(path))).toThrow("is in use by a running guacamole");
      store.close();
      expect(inspectStore(path).flaws).toEqual([]);
    }));
});

describe("recovering a group from one member", () => {
  test("keeps the whole log, under another cluster id, with this member alone", () =>
    inDirectory((directory) => {
      const path = survivorIn(directory);
      const recovered = recoverGroup(input(path));
      const identity = {
        clusterId: NEXT,
        memberId: M1,
        origin: "recover" as const,
        promotableFrom: index(0),
        peers: [],
        recoveryEpoch: 1,
      };
      expect(recovered).toMatchObject({
        identity,
        lastBefore: { index: 25, term: 2 },
        adoptedCount: 5,
        last: { index: 27, term: 4 },
      });
      expect(readMarker(storePaths(directory).marker)).toEqual({
        clusterId: NEXT,
        memberId: M1,
        origin: "recover",
      });
      expect(loadIdentity(path)).toEqual(identity);
      const store = openStore(path);
      const { hard, applied, last, configs } = store.load();
      expect({ hard, applied, last }).toEqual({
        hard: { term: term(4), vote: null, commit: index(27) },
        applied: index(27),
        last: { index: index(27), term: term(4) },
      });
      expect(configs.at(-1)).toEqual({ index: index(26), config: configOf([M1]) });
      // 22 of the old group, that of its forming, and the one that the recovery adds, which saw all of them.
      expect(store.state?.tokens).toHaveLength(24);
      expect(store.state?.tokens.at(-1)?.id).toBe("after-23");
      expect(recovered.state).toEqual(store.state);
      store.close();
      // A second loss is a second recovery.
      const again = { ...input(path), clusterId: "44444444-4444-4444-8444-444444444444" as ClusterId };
      expect(recoverGroup(again).identity.recoveryEpoch).toBe(2);
    }));

  test("can be tried without changing anything, and ends the same", () =>
    inDirectory((directory) => {
      const path = survivorIn(directory);
      const before = filesIn(directory);
      const tried = recoverGroup(input(path, true));
      expect(filesIn(directory)).toEqual(before);
      expect(recoverGroup(input(path))).toEqual(tried);
    }));

  test("works on a log that was compacted, with sessions and hashes", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      let store = openStore(path);
      live(store, historyOf(31, 60), 7);
      store.compact(index(60));
      const tokens = store.state?.tokens.length ?? 0;
      const hash = store.stateHash();
      store.close();
      recoverGroup(input(path));
      store = openStore(path);
      expect(store.load()).toMatchObject({ floor: { index: 60 }, last: { index: 62 }, applied: 62 });
      expect(store.state?.tokens).toHaveLength(tokens + 1);
      expect(store.sessionCount).toBe(3);
      expect(store.stateHash()).toMatchObject({ index: 62 });
      expect(store.stateHash()?.hash).not.toBe(hash?.hash as string);
      store.close();
    }));

  test("is refused where there is nothing to go on from, or what there is is damaged", () =>
    inDirectory((directory) => {
      const joined = join(directory, "joined");
      mkdirSync(joined);
      const fresh = joinIn(joined);
      expect(() => recoverGroup(input(fresh))).toThrow("there is no member in");
      const path = survivorIn(directory);
      const raw = new Database(path);
      raw.run("DELETE FROM raft_log WHERE idx = 21");
      raw.close();
      const before = readFileSync(storePaths(directory).marker, "utf8");
      expect(() => recoverGroup(input(path))).toThrow("entry 21 is missing");
      expect(readFileSync(storePaths(directory).marker, "utf8")).toBe(before);
      expect(loadIdentity(path)?.clusterId).toBe(CLUSTER);
      expect(() => recoverGroup({ ...input(path), clusterId: CLUSTER })).toThrow("a cluster id of its own");
    }));

  test("that fails half way has not happened", () =>
    inDirectory((directory) => {
      const path = survivorIn(directory);
      const failing: FollowUp = () => {
        throw new Error("no follow-up");
      };
      expect(() => recoverGroup({ ...input(path), followUp: failing })).toThrow("no follow-up");
      expect(loadIdentity(path)?.clusterId).toBe(CLUSTER);
      // The marker, too, is what it was.
      expect(readMarker(storePaths(directory).marker)).toEqual({
        clusterId: CLUSTER,
        memberId: M1,
        origin: "form",
      });
      const store = openStore(path);
      expect(store.load()).toMatchObject({ last: { index: 25 }, applied: 18, hard: { term: 3, commit: 20 } });
      store.close();
    }));

  test("that is cut anywhere has happened whole or not at all", () =>
    inDirectory((directory) => {
      const path = survivorIn(directory);
      const { marker } = storePaths(directory);
      const cut = join(directory, "cut");
      mkdirSync(cut);
      const followUpAndCut: FollowUp = (state) => {
        // What a kill at this moment leaves.
        for (const name of readdirSync(directory)) {
          if (name !== "cut") cpSync(join(directory, name), join(cut, name));
        }
        // And what one right after the transaction leaves: the marker is not written again.
        mkdirSync(`${marker}.new`);
        return followUp(state);
      };
      expect(() => recoverGroup({ ...input(path), followUp: followUpAndCut })).toThrow();
      const cutPaths = storePaths(cut);
      expect(readMarker(cutPaths.marker)?.recoveringTo).toBe(NEXT);
      expect(loadIdentity(cutPaths.database)?.clusterId).toBe(CLUSTER);
      expect(readMarker(cutPaths.marker)).toEqual({ clusterId: CLUSTER, memberId: M1, origin: "form" });
      rmSync(`${marker}.new`, { recursive: true });
      expect(readMarker(marker)?.recoveringTo).toBe(NEXT);
      expect(loadIdentity(path)).toMatchObject({ clusterId: NEXT, recoveryEpoch: 1 });
      expect(readMarker(marker)).toEqual({ clusterId: NEXT, memberId: M1, origin: "recover" });
    }));

  test("that was cut between database and marker is made good at the next start", () =>
    inDirectory((directory) => {
      const { marker } = storePaths(directory);
      const path = survivorIn(directory);
      recoverGroup(input(path));
      const after = { clusterId: NEXT, memberId: M1, origin: "recover" as const };
      writeMarker(marker, { clusterId: CLUSTER, memberId: M1, origin: "form", recoveringTo: NEXT });
      expect(loadIdentity(path)?.clusterId).toBe(NEXT);
      expect(readMarker(marker)).toEqual(after);
      // A recovery to yet another cluster id is not ours.
      const other = "55555555-5555-4555-8555-555555555555" as ClusterId;
      writeMarker(marker, { clusterId: CLUSTER, memberId: M1, origin: "form", recoveringTo: other });
      expect(() => loadIdentity(path)).toThrow("taken from another cluster");
      writeMarker(marker, { clusterId: CLUSTER, memberId: M9, origin: "form", recoveringTo: NEXT });
      expect(() => loadIdentity(path)).toThrow("taken from another cluster");
    }));
});

describe("restoring a group from a backup", () => {
  test("makes an empty data directory the first member of a new cluster with the old state", () =>
    inDirectory((directory) => {
      const [source, target] = ["source", "target"].map((name) => join(directory, name));
      for (const place of [source, target]) mkdirSync(place ?? "");
      const old = openStore(formIn(source ?? ""));
      live(old, historyOf(32, 60), 9);
      const file = old.writeSnapshot(join(directory, "backup"));
      const databasePath = storePaths(target ?? "").database;
      const request = {
        snapshotPath: file.path,
        databasePath,
        clusterId: NEXT,
        memberId: M9,
        followUp,
        rules: { apply },
      };
      const restored = restoreGroup(request);
      expect(restored).toMatchObject({
        identity: { clusterId: NEXT, memberId: M9, origin: "recover", recoveryEpoch: 1 },
        lastBefore: { index: 60, term: 1 },
        last: { index: 62, term: 2 },
      });
      expect(loadIdentity(databasePath)).toEqual(restored.identity);
      const store = openStore(databasePath);
      expect(store.load()).toMatchObject({
        floor: { index: 60, term: 1 },
        applied: 62,
        hard: { term: 2, vote: null, commit: 62 },
        configs: [{ index: 61, config: configOf([M9]) }],
      });
      expect(store.readEvents(0, 1e6).slice(0, -1)).toEqual([...old.readEvents(0, 1e6)]);
      expect(store.state?.tokens).toHaveLength((old.state?.tokens.length ?? 0) + 1);
      store.close();
      old.close();
      expect(() => restoreGroup(request)).toThrow("forms or joins once");
    }));

  test("from a damaged backup leaves the data directory free", () =>
    inDirectory((directory) => {
      const store = openStore(formIn(directory));
      const file = store.writeSnapshot(join(directory, "backup"));
      store.close();
      writeFileSync(file.path, readFileSync(file.path).subarray(0, -70));
      const target = join(directory, "target");
      mkdirSync(target);
      const databasePath = storePaths(target).database;
      const request = {
        snapshotPath: file.path,
        databasePath,
        clusterId: NEXT,
        memberId: M9,
        followUp,
        rules: RULES,
      };
      expect(() => restoreGroup(request)).toThrow("is damaged");
      expect(readdirSync(target)).toEqual([]);
    }));
});
