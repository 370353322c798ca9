import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { LogIndex } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import { encodeCommand } from "../../../src/cluster/command-codec.ts";
import { openDatabase } from "../../../src/store/database.ts";
import { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { HASHES_MAX } from "../../../src/store/state-hash.ts";
import type { Rules } from "../../../src/store/state-machine.ts";
import { historyOf, live } from "./history.ts";
import {
  command,
  entry,
  formIn,
  inDirectory,
  inMemory,
  joinIn,
  openStore,
  tokenCommand,
  write,
} from "./sample.ts";

// A busy machine takes its time.
setDefaultTimeout(60_000);

const index = (value: number) => value as LogIndex;
const LAST = 90;

const raise = (at: number) =>
  entry(at, 1, "command", encodeCommand(command("raise", { kind: "raise-feature-level", level: 2 })));
const token = (at: number, name = `c${at}`) =>
  entry(at, 1, "command", encodeCommand(tokenCommand(name), null, 2));

describe("the hash of what was applied", () => {
  test("begins with the entry that raises the feature level, and changes with every entry", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      let store = openStore(path);
      live(store, [token(3)], 1);
      expect(store.stateHash()).toBeNull();
      expect(store.stateHashAt(index(3))).toBeNull();
      live(store, [raise(4), entry(5, 1, "noop"), token(6), token(7, "c6")], 4);
      const hashes = [4, 5, 6, 7].map((at) => store.stateHashAt(index(at)));
      expect(new Set(hashes).size).toBe(4);
      expect(hashes).not.toContain(null);
      expect(store.stateHash()).toEqual({ index: index(7), hash: hashes[3] as string });
      expect([3, 8].map((at) => store.stateHashAt(index(at)))).toEqual([null, null]);
      store.close();
      store = openStore(path);
      expect(store.stateHash()).toEqual({ index: index(7), hash: hashes[3] as string });
      expect(store.stateHashAt(index(6))).toBeNull();
      store.close();
    }));

  test("is known for the latest 1024 entries", () =>
    inDirectory((directory) => {
      const store = openStore(formIn(directory));
      live(store, [raise(3), ...Array.from({ length: 1100 }, (_, at) => entry(at + 4, 1, "noop"))], 100);
      const oldest = store.appliedIndex - HASHES_MAX + 1;
      expect(store.stateHashAt(index(oldest))).not.toBeNull();
      expect(store.stateHashAt(index(oldest - 1))).toBeNull();
      store.close();
    }));

  test("tells a member whose rules do something else, from that entry on", () =>
    inDirectory((directory) => {
      // One member's binary takes a command for something else.
      const broken: Rules = {
        apply: (state, wish) =>
          wish.id === "c6" && state !== null
            ? { state: { ...state, name: "other" }, outcome: { ok: true }, events: apply(state, wish).events }
            : apply(state, wish),
      };
      const stores = [{ apply }, broken].map((rules, at) => {
        const place = join(directory, String(at));
        mkdirSync(place);
        return new SqliteLogStore(openDatabase(formIn(place)), rules);
      });
      for (const store of stores) live(store, [raise(3), token(4), token(5), token(6), token(7)], 2);
      const at = (place: number) => stores.map((store) => store.stateHashAt(index(place)));
      expect(at(5)[0]).toBe(at(5)[1] as string);
      expect(at(6)[0]).not.toBe(at(6)[1] as string);
      expect(at(7)[0]).not.toBe(at(7)[1] as string);
      for (const store of stores) store.close();
    }));

  test("is of what is agreed, not of how a binary builds it", () =>
    inDirectory((directory) => {
      // Changes two parts at once.
      const plain: Rules = {
        apply: (before, wish) => {
          const { state, ...rest } = apply(before, wish);
          if (wish.id !== "c6" || state === null) return { state, ...rest };
          return { state: { ...state, name: "renamed", failoverCount: 6 }, ...rest };
        },
      };
      // Equal, but made anew each time, and in another order.
      const laborious: Rules = {
        apply: (before, wish) => {
          const { state, ...rest } = plain.apply(before, wish);
          const parts = Object.entries(structuredClone(state) ?? {}).reverse();
          return { state: Object.fromEntries(parts) as unknown as typeof state, ...rest };
        },
      };
      const outcomes = [plain, laborious].map((rules, at) => {
        const place = join(directory, String(at));
        mkdirSync(place);
        const store = new SqliteLogStore(openDatabase(formIn(place, rules)), rules);
        live(store, [raise(3), token(4), entry(5, 1, "noop"), token(6), token(7, "c6")], 2);
        const { sha256 } = store.writeSnapshot(join(place, "snapshot"));
        const hash = store.stateHash();
        store.close();
        return { sha256, hash };
      });
      expect(outcomes[0]?.hash).not.toBeNull();
      expect(outcomes[1]).toEqual(outcomes[0] as (typeof outcomes)[number]);
    }));

  test("is the same however the entries came: batches, restarts, compaction, a snapshot", () =>
    fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(fc.record({ size: fc.integer({ min: 1, max: 40 }), deed: fc.nat(3) }), {
          minLength: 1,
          maxLength: 12,
        }),
        (seed, steps) =>
          inMemory((directory) => {
            const history = historyOf(seed, LAST);
            mkdirSync(join(directory, "plain"));
            const plain = openStore(formIn(join(directory, "plain")));
            live(plain, history, 1);
            const eventful = liveEventfully(directory, history, steps);
            for (let at = 1; at <= LAST; at += 1) {
              const hash = eventful.stateHashAt(index(at));
              if (hash !== null) expect(hash).toBe(plain.stateHashAt(index(at)) as string);
            }
            expect(eventful.stateHash()).toEqual(plain.stateHash());
            expect(eventful.writeSnapshot(join(directory, "a")).sha256).toBe(
              plain.writeSnapshot(join(directory, "b")).sha256,
            );
            expect(plain.stateHash()).not.toBeNull();
            plain.close();
            eventful.close();
          }),
      ),
      { numRuns: 12 },
    ));
});

/** A life with steps between the batches: a restart, a compaction, or to be another member that got a snapshot. */
function liveEventfully(
  directory: string,
  history: ReturnType<typeof historyOf>,
  steps: readonly { readonly size: number; readonly deed: number }[],
): SqliteLogStore {
  let path = formIn(directory);
  let store = openStore(path);
  for (let turn = 0; store.appliedIndex < LAST; turn += 1) {
    const { size, deed } = steps[turn % steps.length] ?? { size: 1, deed: 0 };
    live(store, history.slice(store.appliedIndex - 2, store.appliedIndex - 2 + size), Math.ceil(size / 2));
    if (deed === 1) {
      store.close();
      store = openStore(path);
    } else if (deed === 2) {
      store.compact(index(store.appliedIndex - 1));
    } else if (deed === 3) {
      const file = store.writeSnapshot(join(directory, `snapshot${turn}`));
      store.close();
      const place = join(directory, String(turn));
      mkdirSync(place);
      path = joinIn(place);
      store = openStore(path);
      const { meta } = file;
      write(store, {
        snapshot: { meta, content: file.path },
        hard: { term: meta.term, vote: null, commit: meta.index },
      });
    }
  }
  return store;
}
