/**
 * A process that writes to a store and says after each commit what is durable; to be killed, or to run into a disk that
 * refuses. `writer.ts append DATABASE` | `follow DATABASE LEADER-DATABASE` | `until-refused DATABASE`.
 */
import { writeSync } from "node:fs";
import { unreachable } from "../../../src/base/assert.ts";
import type { LogIndex } from "../../../src/base/ids.ts";
import type { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { DiskFullError } from "../../../src/store/store-error.ts";
import { commandEntry, openStore, tokenCommand, write } from "./sample.ts";

type Deed = "append" | "follow" | "until-refused";

function append(store: SqliteLogStore): void {
  const { hard, last } = store.load();
  const index = last.index + 1;
  const added = commandEntry(index, hard.term, tokenCommand(`c${index}`));
  write(store, { entries: [added], hard: { ...hard, commit: index as LogIndex }, committed: [added] });
}

/** The follower gets some entries, some snapshots, and compacts; its leader runs ahead and compacts, too. */
function follow(store: SqliteLogStore, leader: SqliteLogStore, snapshotPath: string): void {
  for (let turn = 0; ; turn += 1) {
    for (let count = 0; count < 5; count += 1) append(leader);
    const { hard, last, floor } = leader.load();
    const { applied } = store.load();
    if (turn % 3 === 0 || floor.index > applied) {
      const { meta, path } = leader.writeSnapshot(snapshotPath);
      write(store, { snapshot: { meta, content: path }, hard: { ...hard, vote: null, commit: last.index } });
    } else {
      const entries = leader.read((applied + 1) as LogIndex, 100, 1e6);
      write(store, { entries, hard: { ...hard, vote: null, commit: last.index } });
      write(store, { committed: entries, mustSync: false });
    }
    acknowledge(store);
    if (turn % 4 === 1) store.compact((store.appliedIndex - 2) as LogIndex);
    if (turn % 5 === 1) leader.compact((leader.appliedIndex - 2) as LogIndex);
  }
}

function failureOf(action: () => void): unknown {
  for (;;) {
    try {
      action();
    } catch (error) {
      // The write that reaches a limit is a short one: that looks like a full disk.
      if (!(error instanceof DiskFullError)) return error;
    }
  }
}

function acknowledge(store: SqliteLogStore): void {
  writeSync(1, `${store.load().last.index}\n`);
}

function run(deed: Deed, path: string, leaderPath: string): void {
  const store = openStore(path);
  const once = () => {
    append(store);
    acknowledge(store);
  };
  switch (deed) {
    case "append":
      for (;;) once();
    case "follow":
      follow(store, openStore(leaderPath), `${path}.snapshot`);
      return;
    case "until-refused": {
      const failure = failureOf(once) as { readonly code?: string };
      const again = failureOf(once) as Error;
      writeSync(1, `${failure.code}\n${again.message}\n`);
      return;
    }
    default:
      unreachable(deed);
  }
}

const [, , deed, path, leaderPath] = process.argv;
run(deed as Deed, path ?? "", leaderPath ?? "");
