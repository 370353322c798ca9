/** Raft and its real disk together: three members, each with a database of its own, and messages that arrive at once. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId, LogIndex, MemberId } from "../../../src/base/ids.ts";
import { encodeCommand, encodeOpenSession } from "../../../src/cluster/command-codec.ts";
import type { Message } from "../../../src/raft/engine/message.ts";
import { RaftNode } from "../../../src/raft/node.ts";
import { joinStore } from "../../../src/store/identity.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { verifySnapshot } from "../../../src/store/snapshot-file.ts";
import type { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import {
  CLUSTER,
  command,
  formIn,
  inDirectory,
  inMemory,
  M1,
  M2,
  openStore,
  tokenCommand,
} from "./sample.ts";

// A busy machine takes its time.
setDefaultTimeout(60_000);

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
const TIMING = { heartbeatTicks: 2, electionTicksMin: 10, electionTicksMax: 20 };

class Group {
  readonly #directory: string;
  readonly #paths = new Map<MemberId, string>();
  readonly #stores = new Map<MemberId, SqliteLogStore>();
  readonly #members = new Map<MemberId, RaftNode>();
  readonly #away = new Set<MemberId>();
  #waiting: Message[] = [];
  #snapshotsWanted: { readonly from: MemberId; readonly to: MemberId }[] = [];
  snapshotCount = 0;

  constructor(directory: string) {
    this.#directory = directory;
    this.#paths.set(M1, formIn(this.#place(M1)));
    for (const memberId of [M2, M3]) {
      const databasePath = storePaths(this.#place(memberId)).database;
      joinStore({ databasePath, clusterId: CLUSTER, memberId, promotableFrom: 0 as LogIndex, peers: [] });
      this.#paths.set(memberId, databasePath);
    }
    for (const id of this.#paths.keys()) this.start(id);
  }

  store(id: MemberId): SqliteLogStore {
    return this.#stores.get(id) as SqliteLogStore;
  }

  member(id: MemberId): RaftNode {
    return this.#members.get(id) as RaftNode;
  }

  /** Starts it, or starts it again from what its disk has. */
  start(id: MemberId): void {
    this.#stores.get(id)?.close();
    const store = openStore(this.#paths.get(id) as string);
    this.#stores.set(id, store);
    this.#members.set(
      id,
      new RaftNode({
        id,
        store,
        transport: { send: (message) => this.#waiting.push(message) },
        random: new SeededRandom(Number(id.at(-1))),
        timing: TIMING,
        limits: { trailingEntries: 5, compactEveryEntries: 5 },
        onApplied: () => undefined,
        onReads: () => undefined,
        onSnapshotNeeded: (to) => this.#snapshotsWanted.push({ from: id, to }),
        onStatus: () => undefined,
      }),
    );
  }

  leave(id: MemberId): void {
    this.#away.add(id);
  }

  comeBack(id: MemberId): void {
    this.#away.delete(id);
  }

  get awayCount(): number {
    return this.#away.size;
  }

  run(ticks = 1): void {
    for (let tick = 0; tick < ticks; tick += 1) {
      for (const [id, member] of this.#members) if (!this.#away.has(id)) member.tick();
      this.#settle();
    }
  }

  close(): void {
    for (const store of this.#stores.values()) store.close();
  }

  #settle(): void {
    do {
      for (const [id, member] of this.#members) if (!this.#away.has(id)) member.process();
      const messages = this.#waiting;
      this.#waiting = [];
      for (const message of messages) {
        const isLost = this.#away.has(message.from) || this.#away.has(message.to);
        if (!isLost) this.#members.get(message.to)?.receive(message);
      }
      for (const { from, to } of this.#snapshotsWanted.splice(0)) this.#sendSnapshot(from, to);
    } while (this.#waiting.length > 0);
  }

  #sendSnapshot(from: MemberId, to: MemberId): void {
    const leader = this.member(from);
    if (!this.#away.has(to)) {
      const path = join(this.#directory, `snapshot-${this.snapshotCount++}`);
      const { meta } = this.store(from).writeSnapshot(path);
      expect(verifySnapshot(path, CLUSTER as ClusterId).meta).toEqual(meta);
      const { term } = leader.status();
      this.member(to).receiveSnapshot({ type: "snapshot", from, to, term, meta }, path);
      this.member(to).process();
    }
    leader.reportSnapshot(to);
  }

  #place(id: MemberId): string {
    const place = join(this.#directory, id);
    mkdirSync(place);
    return place;
  }
}

/** One member that leads and three that vote. */
function grow(group: Group): void {
  group.member(M1).campaign();
  group.run(3);
  group.member(M1).changeConfig({ voters: [M1], learners: [M2, M3] });
  group.run(5);
  group.member(M1).changeConfig({ voters: [M1, M2, M3], learners: [] });
  group.run(5);
  expect([...group.member(M1).status().config.voters].sort()).toEqual([M1, M2, M3]);
}

const raise = encodeCommand(command("raise", { kind: "raise-feature-level", level: 2 }));
const tokens = (store: SqliteLogStore) => store.state?.tokens.map(({ id }) => id);

test("a member that was away gets a snapshot from disk to disk, restarts on it, and may lead", () =>
  inDirectory((directory) => {
    const group = new Group(directory);
    grow(group);
    const leader = group.member(M1);
    group.leave(M3);
    leader.propose([raise, encodeOpenSession("one")]);
    for (let at = 1; at <= 40; at += 1) {
      const session = { client: "one", sequence: at, acknowledged: at - 1 };
      leader.propose([encodeCommand(tokenCommand(`c${at}`), session, 2)]);
      group.run();
    }
    const { applied, floor } = group.store(M1).load();
    expect(floor.index as number).toBeGreaterThan(group.store(M3).load().last.index);
    group.comeBack(M3);
    group.run(5);
    expect(group.snapshotCount).toBe(1);
    expect(group.store(M3).load().floor.index).toBeGreaterThanOrEqual(applied);
    group.start(M3);
    group.run(5);
    leader.transferLeadership(M3);
    group.run(5);
    expect(group.member(M3).status().role).toBe("leader");
    // The session is known to the new leader, and so is what was proposed under it.
    const repeated = { client: "one", sequence: 40, acknowledged: 39 };
    const fresh = { client: "one", sequence: 41, acknowledged: 40 };
    group
      .member(M3)
      .propose([
        encodeCommand(tokenCommand("again"), repeated, 2),
        encodeCommand(tokenCommand("last"), fresh, 2),
      ]);
    group.run(5);
    for (const id of [M1, M2, M3]) {
      const store = group.store(id);
      expect(tokens(store)).toEqual(["t0", ...Array.from({ length: 40 }, (_, at) => `c${at + 1}`), "last"]);
      expect(store.stateHash()).toEqual(group.store(M1).stateHash());
    }
    expect(group.store(M1).stateHash()).not.toBeNull();
    group.close();
  }));

test.each([1, 2, 3, 4])(
  "whoever leaves, crashes and comes back, all live through the same (seed %i)",
  (seed) =>
    inMemory((directory) => {
      const random = new SeededRandom(seed);
      const ids = [M1, M2, M3];
      const group = new Group(directory);
      grow(group);
      group.member(M1).propose([raise, encodeOpenSession("one")]);
      group.run(2);
      const proposed = new Set<string>();
      for (let turn = 1; turn <= 150; turn += 1) {
        const id = random.pick(ids) ?? M1;
        if (random.chance(15)) group.start(id);
        if (random.chance(10)) for (const each of ids) group.comeBack(each);
        if (random.chance(8) && group.awayCount === 0) group.leave(id);
        for (const each of ids) {
          if (group.member(each).status().role !== "leader") continue;
          // The same wish more than once, to whoever believes to lead: carried out once.
          const sequence = random.integer(Math.max(1, turn - 3), turn);
          const session = { client: "one", sequence, acknowledged: Math.max(0, turn - 30) };
          const { ok } = group
            .member(each)
            .propose([encodeCommand(tokenCommand(`c${turn}`, `s${sequence}`), session, 2)]);
          if (ok) proposed.add(`s${sequence}`);
        }
        group.run(random.integer(1, 8));
      }
      for (const id of ids) group.comeBack(id);
      group.run(100);
      const made = tokens(group.store(M1)) ?? [];
      expect(new Set(made).size).toBe(made.length);
      expect(made.length).toBeGreaterThan(20);
      expect(made.slice(1).filter((id) => !proposed.has(id))).toEqual([]);
      const hashes = ids.map((id) => group.store(id).stateHash());
      expect(hashes[0]).not.toBeNull();
      expect(hashes[1]).toEqual(hashes[0] ?? null);
      expect(hashes[2]).toEqual(hashes[0] ?? null);
      const snapshots = ids.map((id) => group.store(id).writeSnapshot(join(directory, `end-${id}`)).sha256);
      expect(new Set(snapshots).size).toBe(1);
      snapshotTotal += group.snapshotCount;
      group.close();
    }),
);

let snapshotTotal = 0;
// Not in every life, but without any this test has not seen what it is for.
afterAll(() => expect(snapshotTotal).toBeGreaterThan(0));
