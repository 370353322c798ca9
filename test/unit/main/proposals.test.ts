import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { EntryData } from "../../../src/cluster/command-codec.ts";
import type { ProposeResult } from "../../../src/cluster/consensus.ts";
import { type Acceptance, type ProposalPorts, Proposals } from "../../../src/main/proposals.ts";
import { PeerError } from "../../../src/peer/peer-error.ts";
import type { CommandReply } from "../../../src/store/command-reply.ts";
import { M2, tokenCommand } from "../store/sample.ts";

const at = (index: number, term = 1) => ({ index: index as LogIndex, term: term as Term });
const DONE: ProposeResult = { kind: "applied", outcome: { ok: true } };

function inWords(data: EntryData): string {
  if (data.kind === "open-session") return `open ${data.client}`;
  if (data.session === null) return data.command.id;
  const { client, sequence, acknowledged } = data.session;
  return `${data.command.id} ${client} ${sequence}/${acknowledged}`;
}

/** What the state machine answers to the command, in the session or alone. */
function done(commandId: string): CommandReply {
  return { kind: "applied", commandId, outcome: { ok: true }, isRepeat: false, session: null };
}

function world(ports: Partial<ProposalPorts>, countMax = 100) {
  const asked: string[] = [];
  const clients = ["client1", "client2", "client3"];
  const proposals = new Proposals(
    {
      leader: () => null,
      proposeHere: (data): Acceptance => {
        asked.push(inWords(data));
        return { ok: true, id: at(asked.length) };
      },
      featureLevel: () => 1,
      newClientId: () => clients.shift() ?? "none",
      proposeThere: () => Promise.reject(new PeerError("unreachable", "gone")),
      nowMs: () => 0,
      ...ports,
    },
    countMax,
  );
  const add = (id: string, deadlineMs: number) =>
    new Promise<ProposeResult>((resolve) => proposals.add(tokenCommand(id), deadlineMs, resolve));
  return { proposals, asked, add };
}

test("without a leader nothing was proposed; with one that took it, nobody knows", async () => {
  const nobody = world({ leader: () => undefined });
  expect(await nobody.add("a", 1)).toEqual({ kind: "not-proposed", reason: "no leader is known" });
  const silent = world({});
  expect(await silent.add("a", 1)).toMatchObject({ kind: "unknown" });
  const unreachable = world({ leader: () => M2 });
  expect(await unreachable.add("a", 1)).toEqual({ kind: "not-proposed", reason: "gone" });
  const lost = world({ leader: () => M2, proposeThere: () => Promise.reject(new PeerError("lost", "cut")) });
  expect(await lost.add("a", 1)).toEqual({ kind: "unknown", reason: "cut" });
});

test("an entry that was lost with its leader is proposed again, and answered once", async () => {
  const { proposals, asked, add } = world({});
  const result = add("a", 60_000);
  proposals.raftChanged(1 as Term, M2, 0 as LogIndex);
  expect(asked).toEqual(["a"]);
  proposals.raftChanged(2 as Term, M2, 0 as LogIndex);
  expect(asked).toEqual(["a", "a"]);
  proposals.raftChanged(2 as Term, M2, 9 as LogIndex);
  expect(asked).toEqual(["a", "a", "a"]);
  proposals.replied(done("a"));
  expect(await result).toEqual(DONE);
  proposals.replied(done("a"));
});

test("a refusal that is final ends it at once", async () => {
  const { add } = world({ proposeHere: () => ({ ok: false, reason: "too large", isFinal: true }) });
  expect(await add("a", 60_000)).toEqual({ kind: "not-proposed", reason: "too large" });
});

test("a new leader is asked although the old one has not answered, whose late answer then does not count", async () => {
  let leader = "00000000-0000-4000-8000-000000000007" as MemberId;
  const answers: ((acceptance: Acceptance) => void)[] = [];
  const asked: MemberId[] = [];
  const { proposals, add } = world({
    leader: () => leader,
    proposeThere: (to) => {
      asked.push(to);
      return new Promise((resolve) => answers.push(resolve));
    },
  });
  const result = add("a", 60_000);
  leader = M2;
  proposals.raftChanged(2 as Term, M2, 0 as LogIndex);
  expect(asked).toEqual(["00000000-0000-4000-8000-000000000007" as MemberId, M2]);
  answers[0]?.({ ok: false, reason: "late", isFinal: true });
  answers[1]?.({ ok: true, id: at(4, 2) });
  await Promise.resolve();
  proposals.replied(done("a"));
  expect(await result).toEqual(DONE);
});

test("two that wait for the same command get the same answer; closing answers those that are left", async () => {
  const { proposals, add } = world({});
  const both = [add("a", 60_000), add("a", 60_000)];
  proposals.replied(done("a"));
  expect(await Promise.all(both)).toEqual([DONE, DONE]);
  const left = add("b", 60_000);
  proposals.close();
  expect(await left).toMatchObject({ kind: "unknown" });
});

test("more than may wait are refused, and so is what the leader has no room for", async () => {
  const { add } = world({}, 2);
  const waiting = [add("a", 1), add("b", 1)];
  expect(await add("c", 60_000)).toMatchObject({ kind: "overloaded" });
  await Promise.all(waiting);
  const full = world({
    proposeHere: () => ({ ok: false, reason: "overloaded", isFinal: false, isOverloaded: true }),
  });
  expect(await full.add("a", 60_000)).toEqual({ kind: "overloaded", reason: "overloaded" });
  const busy = world({
    leader: () => M2,
    proposeThere: () => Promise.reject(new PeerError("overloaded", "many calls")),
  });
  expect(await busy.add("a", 60_000)).toEqual({ kind: "overloaded", reason: "many calls" });
});

describe("with sessions", () => {
  const sessions = (ports: Partial<ProposalPorts> = {}) => world({ featureLevel: () => 2, ...ports });
  const opened = (client: string): CommandReply => ({ kind: "session-opened", client, isRepeat: false });

  test("a session is opened once, then each wish has a number and says what is answered", async () => {
    const { proposals, asked, add } = sessions();
    const first = [add("a", 60_000), add("b", 60_000)];
    expect(asked).toEqual(["open client1"]);
    proposals.replied(opened("client1"));
    expect(asked.slice(1)).toEqual(["a client1 1/0", "b client1 2/0"]);
    proposals.replied(done("b"));
    const third = add("c", 60_000);
    expect(asked.at(-1)).toBe("c client1 3/0");
    proposals.replied(done("a"));
    const fourth = add("d", 60_000);
    expect(asked.at(-1)).toBe("d client1 4/2");
    proposals.replied(done("c"));
    proposals.replied(done("d"));
    expect(await Promise.all([...first, third, fourth])).toEqual([DONE, DONE, DONE, DONE]);
  });

  test("a wish that is proposed again keeps its number", () => {
    const { proposals, asked, add } = sessions();
    void add("a", 60_000);
    proposals.replied(opened("client1"));
    proposals.raftChanged(2 as Term, M2, 0 as LogIndex);
    expect(asked.slice(1)).toEqual(["a client1 1/0", "a client1 1/0"]);
    proposals.close();
  });

  test("a session that was forgotten: proposed once, it goes on in a new one; proposed twice, nobody knows", async () => {
    const { proposals, asked, add } = sessions();
    const once = add("a", 60_000);
    const twice = add("b", 60_000);
    proposals.replied(opened("client1"));
    proposals.raftChanged(2 as Term, M2, 1 as LogIndex);
    // Both have been proposed twice by now; a third is proposed once.
    const fresh = add("c", 60_000);
    const unknown = (commandId: string, sequence: number): CommandReply => ({
      kind: "session-unknown",
      commandId,
      client: "client1",
      sequence,
    });
    proposals.replied(unknown("c", 3));
    expect(asked.at(-1)).toBe("open client2");
    proposals.replied(unknown("a", 1));
    proposals.replied(unknown("b", 2));
    expect((await once).kind).toBe("unknown");
    expect((await twice).kind).toBe("unknown");
    proposals.replied(opened("client2"));
    expect(asked.at(-1)).toBe("c client2 1/0");
    proposals.replied(done("c"));
    expect(await fresh).toEqual(DONE);
  });

  test("before every member knows sessions, none is used", async () => {
    let level = 1;
    const { proposals, asked, add } = sessions({ featureLevel: () => level });
    void add("a", 60_000);
    level = 2;
    void add("b", 60_000);
    expect(asked).toEqual(["a", "open client1"]);
    proposals.close();
  });

  test("a wish that waits for its session has not been proposed", async () => {
    const { add } = sessions();
    expect(await add("a", 1)).toMatchObject({ kind: "not-proposed" });
  });
});
