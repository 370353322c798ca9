/** Histories from a seed: what members may find in their logs, and ways to live through the same one differently. */
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { encodeCommand, encodeOpenSession } from "../../../src/cluster/command-codec.ts";
import type { Entry } from "../../../src/raft/engine/message.ts";
import type { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { command, configEntry, entry, M1, M2, tokenCommand, write } from "./sample.ts";

/** Entries 3 to `last` of term 1, to follow those of a formed store. Feature level 2 is reached on the way. */
export function historyOf(seed: number, last: number): readonly Entry[] {
  const random = new SeededRandom(seed);
  const below = (end: number) => random.integer(0, end - 1);
  const raisedAt = 3 + below(Math.ceil(last / 3));
  const clients = ["a", "b", "c"];
  return Array.from({ length: last - 2 }, (_, at) => {
    const index = at + 3;
    if (index === raisedAt) {
      return entry(
        index,
        1,
        "command",
        encodeCommand(command("raise", { kind: "raise-feature-level", level: 2 })),
      );
    }
    const level = index > raisedAt ? 2 : 1;
    const wish = below(8) === 0 ? refusedCommand(below(30)) : tokenCommand(`c${below(last)}`, `t${index}`);
    switch (below(level === 1 ? 3 : 8)) {
      case 0:
        return entry(index, 1, "noop");
      case 1:
        return below(4) > 0
          ? entry(index, 1, "noop")
          : configEntry(index, 1, [M1, M2].slice(0, 1 + below(2)));
      case 2:
        return entry(index, 1, "command", encodeCommand(wish, null, level));
      case 3:
        return entry(index, 1, "command", encodeOpenSession(clients[below(clients.length)] ?? "a"));
      default: {
        const sequence = 1 + below(20);
        const session = {
          client: clients[below(clients.length)] ?? "a",
          sequence,
          acknowledged: below(sequence),
        };
        return entry(index, 1, "command", encodeCommand(wish, session, level));
      }
    }
  });
}

function refusedCommand(id: number) {
  return command(`r${id}`, { kind: "abort-switchover", operationId: "none", reason: "there is none" });
}

/** Stores and applies entries, in batches of the given size. */
export function live(store: SqliteLogStore, entries: readonly Entry[], batchSize: number): void {
  for (let at = 0; at < entries.length; at += batchSize) {
    const batch = entries.slice(at, at + batchSize);
    const commit = (batch.at(-1)?.index ?? 0) as LogIndex;
    write(store, {
      entries: batch,
      committed: batch,
      hard: { term: store.load().hard.term, vote: M1 as MemberId, commit },
    });
  }
}
