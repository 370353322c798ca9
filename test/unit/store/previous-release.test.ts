/**
 * What earlier releases wrote, read by this one. The fixtures were made by those releases' own code and are never made
 * again: what stands in them stands on somebody's disk.
 *
 * - `release-0.1.0`: the database of a member of four (one a witness) with 121 entries that release 0.1.0 (commit f58564c)
 *   applied, a switchover and a failover among them, and three more that it does not know to be committed; and what that
 *   release said of it.
 * - `snapshot-format-1`: a snapshot of the same after this release took it over, with sessions and at feature level 2.
 */
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import { encodeCommand, encodeOpenSession } from "../../../src/cluster/command-codec.ts";
import type { StoredEvent } from "../../../src/cluster/consensus.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import type { StoredRaft } from "../../../src/raft/ports.ts";
import { commandReply } from "../../../src/store/command-reply.ts";
import { loadIdentity } from "../../../src/store/identity.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { recoverGroup } from "../../../src/store/recover.ts";
import { verifySnapshot } from "../../../src/store/snapshot-file.ts";
import type { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import {
  CLUSTER,
  command,
  entry,
  inDirectory,
  joinIn,
  M1,
  openStore,
  RULES,
  tokenCommand,
  write,
} from "./sample.ts";

const FIXTURES = join(import.meta.dir, "../../fixtures");

interface Expected {
  readonly load: Omit<StoredRaft, "configs">;
  readonly state: ClusterState;
  readonly events: readonly StoredEvent[];
  /** Of each command: its index, and what became of it. */
  readonly outcomes: readonly string[];
}

const unpacked = (name: string): Uint8Array => Bun.gunzipSync(readFileSync(join(FIXTURES, name)));
const index = (value: number) => value as LogIndex;

function expectedOf010(): Expected {
  return JSON.parse(new TextDecoder().decode(unpacked("release-0.1.0/expected.json.gz"))) as Expected;
}

function databaseOf010(directory: string): string {
  const { database } = storePaths(directory);
  writeFileSync(database, unpacked("release-0.1.0/guacamole.db.gz"));
  return database;
}

/** Commits what release 0.1.0 left open, raises the feature level, and uses a session. */
function goOn(store: SqliteLogStore): void {
  const tail = store.read(index(122), 10, 1e6);
  const session = { client: "one", sequence: 1, acknowledged: 0 };
  const added = [
    command("raise", { kind: "raise-feature-level", level: 2 }),
    encodeOpenSession("one"),
    encodeCommand(tokenCommand("in-session"), session, 2),
  ].map((wish, at) => entry(125 + at, 5, "command", wish instanceof Uint8Array ? wish : encodeCommand(wish)));
  write(store, {
    entries: added,
    committed: [...tail, ...added],
    hard: { ...store.load().hard, commit: index(127) },
  });
}

describe("the database of release 0.1.0", () => {
  test("opens to what that release had, and goes on", () =>
    inDirectory((directory) => {
      const path = databaseOf010(directory);
      const expected = expectedOf010();
      expect(loadIdentity(path)).toMatchObject({ clusterId: CLUSTER, memberId: M1, recoveryEpoch: 0 });
      let store = openStore(path);
      const { configs, ...load } = store.load();
      expect(load).toEqual(expected.load);
      expect(configs.map(({ index: at, config }) => [at as number, config.voters.length])).toEqual([
        [1, 1],
        [6, 2],
        [9, 3],
        [13, 4],
        [124, 3],
      ]);
      expect(configs.every(({ config }) => config.learnersNext.length === 0)).toBe(true);
      expect(store.state).toEqual(expected.state);
      expect(store.readEvents(0, 1e6)).toEqual(expected.events);
      expect(store.stateHash()).toBeNull();
      goOn(store);
      // A command that 0.1.0 applied is recognised.
      const again = entry(128, 5, "command", encodeCommand(tokenCommand("the-same"), null, 2));
      const [reply] = write(store, {
        entries: [again],
        committed: [again],
        hard: { ...store.load().hard, commit: index(128) },
      });
      expect(reply && commandReply(reply)).toMatchObject({ kind: "applied", isRepeat: true });
      store.compact(index(120));
      store.close();
      store = openStore(path);
      expect(store.state?.tokens.slice(-2).map(({ id }) => id)).toEqual(["tail", "in-session"]);
      expect(store.load()).toMatchObject({
        applied: 128,
        floorConfig: { index: 13 },
        floor: { index: 120, term: 3 },
      });
      expect(store.stateHash()).toMatchObject({ index: 128 });
      store.close();
    }));

  test("replayed entry by entry under today's rules, gives the same answers, events and state", () =>
    inDirectory((directory) => {
      const source = openStore(databaseOf010(directory));
      const place = join(directory, "joiner");
      mkdirSync(place);
      const target = openStore(joinIn(place));
      const expected = expectedOf010();
      const outcomes = source.read(index(1), 121, 1e9).flatMap((each) => {
        const hard = { term: each.term, vote: null, commit: each.index };
        return write(target, { entries: [each], committed: [each], hard }).map((applied) => {
          const reply = commandReply(applied);
          if (reply.kind !== "applied") return `${applied.index} ${reply.kind}`;
          const answer = reply.outcome.ok ? "ok" : reply.outcome.code;
          return `${applied.index} ${answer}${reply.isRepeat ? " repeat" : ""}`;
        });
      });
      // The first two entries were the forming itself.
      expect(outcomes).toEqual(["2 ok", ...expected.outcomes]);
      expect(target.state).toEqual(expected.state);
      expect(target.readEvents(0, 1e6)).toEqual(expected.events);
      source.close();
      target.close();
    }));

  test("can be recovered from", () =>
    inDirectory((directory) => {
      const path = databaseOf010(directory);
      const clusterId = "33333333-3333-4333-8333-333333333333" as typeof CLUSTER;
      const recovered = recoverGroup({
        databasePath: path,
        clusterId,
        followUp: () => [],
        rules: RULES,
        isDryRun: false,
      });
      expect(recovered).toMatchObject({
        lastBefore: { index: 124, term: 4 },
        adoptedCount: 3,
        last: { index: 125, term: 6 },
      });
      expect(recovered.state?.tokens.at(-1)?.id).toBe("tail");
    }));
});

describe("a snapshot of format 1", () => {
  test("installs to what it was made from, and is written again letter for letter", () =>
    inDirectory((directory) => {
      const path = join(directory, "snapshot");
      writeFileSync(path, unpacked("snapshot-format-1/snapshot.gz"));
      const file = verifySnapshot(path, CLUSTER);
      expect(file.meta).toEqual({
        index: index(127),
        term: 5 as Term,
        config: {
          index: index(124),
          config: {
            voters: [1, 2, 3].map((each) => `00000000-0000-4000-8000-00000000000${each}` as MemberId),
            outgoing: [],
            learners: [],
            learnersNext: [],
          },
        },
      });
      const target = openStore(joinIn(directory));
      write(target, {
        snapshot: { meta: file.meta, content: path },
        hard: { term: 5 as Term, vote: null, commit: index(127) },
      });
      const { tokens, reign, featureLevel } = target.state ?? {};
      const { state } = expectedOf010();
      expect(reign).toEqual(state.reign);
      expect(featureLevel).toBe(2);
      expect(tokens?.slice(0, -2)).toEqual([...state.tokens]);
      expect(target.sessionCount).toBe(1);
      expect(target.stateHash()?.index as number).toBe(127);
      expect(target.writeSnapshot(join(directory, "again")).sha256).toBe(file.sha256);
      target.close();
    }));
});
