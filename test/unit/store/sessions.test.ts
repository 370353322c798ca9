import { describe, expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import { encodeCommand, encodeOpenSession } from "../../../src/cluster/command-codec.ts";
import { type CommandReply, commandReply } from "../../../src/store/command-reply.ts";
import { OPEN_REPLIES_MAX, SESSIONS_MAX } from "../../../src/store/sessions.ts";
import type { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { command, entry, formIn, inDirectory, M1, openStore, tokenCommand, write } from "./sample.ts";

/** Applies one entry per datum, all in one batch. */
function apply(store: SqliteLogStore, ...data: readonly Uint8Array[]): readonly CommandReply[] {
  const first = store.appliedIndex + 1;
  const entries = data.map((bytes, at) => entry(first + at, 1, "command", bytes));
  const hard = { term: 1 as Term, vote: M1, commit: (first + data.length - 1) as LogIndex };
  return write(store, { entries, committed: entries, hard }).map(commandReply);
}

const open = (client = "one") => encodeOpenSession(client);

/** A command that makes the token `id`, under a session. */
function wish(sequence: number, acknowledged: number, id = `s${sequence}`, client = "one"): Uint8Array {
  return encodeCommand(tokenCommand(`${client}-${id}`, id), { client, sequence, acknowledged }, 2);
}

function tokens(store: SqliteLogStore): readonly string[] {
  return (store.state?.tokens ?? []).map(({ id }) => id).filter((id) => id !== "t0");
}

const kinds = (replies: readonly CommandReply[]) => replies.map(({ kind }) => kind);

/** Runs the body with a store, and with a way to close and open it again. */
const withStore = (body: (store: SqliteLogStore, again: () => SqliteLogStore) => void) =>
  inDirectory((directory) => {
    const path = formIn(directory);
    let store = openStore(path);
    body(store, () => {
      store.close();
      store = openStore(path);
      return store;
    });
    store.close();
  });

describe("a session", () => {
  test("answers the same number with the same answer, once carried out, also after a restart", () =>
    withStore((first, again) => {
      const [opened, answer] = apply(first, open(), wish(1, 0));
      expect(opened).toEqual({ kind: "session-opened", client: "one", isRepeat: false });
      expect(answer).toEqual({
        kind: "applied",
        commandId: "one-s1",
        outcome: { ok: true },
        isRepeat: false,
        session: { client: "one", sequence: 1 },
      });
      const store = again();
      // Even under another command id: the number is what counts.
      const [repeated] = apply(store, wish(1, 0, "other"));
      expect(repeated).toEqual({
        kind: "applied",
        commandId: "one-other",
        outcome: { ok: true },
        isRepeat: true,
        session: { client: "one", sequence: 1 },
      });
      expect(tokens(store)).toEqual(["s1"]);
    }));

  test("keeps a refusal as the answer, too", () =>
    withStore((store) => {
      const refused = command("r", { kind: "abort-switchover", operationId: "none", reason: "none" });
      const data = encodeCommand(refused, { client: "one", sequence: 1, acknowledged: 0 }, 2);
      const [, first, second] = apply(store, open(), data, data);
      expect(first).toMatchObject({ kind: "applied", outcome: { ok: false }, isRepeat: false });
      expect(second).toEqual({ ...(first as CommandReply & { kind: "applied" }), isRepeat: true });
    }));

  test("that was never opened is an error, and nothing is carried out", () =>
    withStore((store) => {
      expect(apply(store, wish(1, 0))).toEqual([
        { kind: "session-unknown", commandId: "one-s1", client: "one", sequence: 1 },
      ]);
      expect(tokens(store)).toEqual([]);
      expect(store.sessionCount).toBe(0);
    }));

  test("forgets what its client acknowledged, and says so instead of carrying it out again", () =>
    withStore((first, again) => {
      apply(first, open(), wish(1, 0), wish(2, 0), wish(3, 2));
      const store = again();
      expect(kinds(apply(store, wish(1, 0, "x"), wish(2, 0, "y"), wish(3, 0, "z")))).toEqual([
        "sequence-acknowledged",
        "sequence-acknowledged",
        "applied",
      ]);
      // What is acknowledged once stays so, whatever a late duplicate says.
      expect(kinds(apply(store, wish(2, 0, "y")))).toEqual(["sequence-acknowledged"]);
      expect(tokens(store)).toEqual(["s1", "s2", "s3"]);
    }));

  test("may be used out of order", () =>
    withStore((store) => {
      const replies = apply(store, open(), wish(3, 0), wish(1, 0), wish(2, 0), wish(3, 0));
      expect(replies.slice(1).map((reply) => reply.kind === "applied" && reply.isRepeat)).toEqual([
        false,
        false,
        false,
        true,
      ]);
    }));

  test("never counts the answer that is being asked for as acknowledged", () =>
    withStore((store) => {
      expect(kinds(apply(store, open(), wish(4, 9), wish(4, 0)))).toEqual([
        "session-opened",
        "applied",
        "applied",
      ]);
      expect(tokens(store)).toEqual(["s4"]);
    }));

  test("opened again stays what it was", () =>
    withStore((store) => {
      const replies = apply(store, open(), wish(1, 0), open(), wish(1, 0));
      expect(replies[2]).toEqual({ kind: "session-opened", client: "one", isRepeat: true });
      expect(replies[3]).toMatchObject({ isRepeat: true });
    }));

  test("keeps clients apart, and command ids together", () =>
    withStore((store) => {
      const same = (client: string) =>
        encodeCommand(tokenCommand("same", "once"), { client, sequence: 1, acknowledged: 0 }, 2);
      const replies = apply(store, open("one"), open("two"), same("one"), same("two"), same("two"));
      expect(replies.slice(2).map((reply) => reply.kind === "applied" && reply.isRepeat)).toEqual([
        false,
        true,
        true,
      ]);
      expect(tokens(store)).toEqual(["once"]);
    }));

  test("takes so many unacknowledged answers and no more, until the client acknowledges", () =>
    withStore((first, again) => {
      apply(first, open());
      for (let at = 0; at < OPEN_REPLIES_MAX; at += 100) {
        apply(first, ...Array.from({ length: 100 }, (_, offset) => wish(at + offset + 1, 0)));
      }
      const store = again();
      const beyond = OPEN_REPLIES_MAX + 1;
      expect(apply(store, wish(beyond, 0))).toEqual([
        { kind: "session-full", commandId: `one-s${beyond}`, client: "one", sequence: beyond },
      ]);
      expect(kinds(apply(store, wish(5, 0), wish(beyond, 1)))).toEqual(["applied", "applied"]);
      expect(tokens(store)).toHaveLength(beyond);
    }));
});

describe("too many sessions", () => {
  test("push out the one that was not used for longest, by the log and not by a clock", () =>
    withStore((first, again) => {
      const clients = Array.from({ length: SESSIONS_MAX }, (_, at) => `client${at}`);
      apply(first, ...clients.map(open));
      // The oldest is used, so the second is pushed out.
      apply(first, wish(1, 0, "a", "client0"));
      const store = again();
      apply(store, open("late"));
      expect(store.sessionCount).toBe(SESSIONS_MAX);
      expect(kinds(apply(store, wish(1, 0, "a", "client0"), wish(1, 0, "b", "client1")))).toEqual([
        "applied",
        "session-unknown",
      ]);
      expect(tokens(store)).toEqual(["a"]);
    }));

  test("spare one that was opened again: that is a use", () =>
    withStore((store) => {
      const clients = Array.from({ length: SESSIONS_MAX }, (_, at) => `client${at}`);
      apply(store, ...clients.map(open), open("client0"), open("late"));
      expect(kinds(apply(store, wish(1, 0, "a", "client0"), wish(1, 0, "b", "client1")))).toEqual([
        "applied",
        "session-unknown",
      ]);
    }));

  test("that come and go within one batch leave the same as one by one", async () => {
    const data = Array.from({ length: SESSIONS_MAX + 40 }, (_, at) => [
      open(`c${at}`),
      wish(1, 0, `a${at}`, `c${at}`),
      // An old one, perhaps gone, comes back under its name.
      ...(at % 3 === 0 ? [open(`c${at >> 1}`), wish(2, 1, `b${at}`, `c${at >> 1}`)] : []),
    ]).flat();
    const bytes: string[] = [];
    for (const batchSize of [1, 7, data.length]) {
      await inDirectory((directory) => {
        const store = openStore(formIn(directory));
        for (let at = 0; at < data.length; at += batchSize) apply(store, ...data.slice(at, at + batchSize));
        bytes.push(store.writeSnapshot(`${directory}/snapshot`).sha256);
        store.close();
      });
    }
    expect(new Set(bytes).size).toBe(1);
  });
});
