import { expect, test } from "bun:test";
import type { MemberId } from "../../../src/base/ids.ts";
import type { EntryData } from "../../../src/cluster/command-codec.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { ConfigWish } from "../../../src/main/config-wish.ts";
import { IncomingCalls } from "../../../src/main/incoming-calls.ts";
import { type DeskPorts, ProposalDesk } from "../../../src/main/proposal-desk.ts";
import {
  formatProposal,
  parseAcceptance,
  parseDivergence,
  parseProposal,
} from "../../../src/main/worker-calls.ts";
import type { NodeStatus, RaftNode } from "../../../src/raft/node.ts";
import { M1, M2, tokenCommand } from "../store/sample.ts";

const travelled = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;
const session = { client: "c", sequence: 4, acknowledged: 3 };

test("proposals arrive as they were; release 0.1.0 finds its own form in them", () => {
  const entries: readonly EntryData[] = [
    { kind: "command", command: tokenCommand("a"), session: null },
    { kind: "command", command: tokenCommand("a"), session },
    { kind: "open-session", client: "c" },
  ];
  for (const entry of entries) expect(parseProposal(travelled(formatProposal(entry)))).toEqual(entry);
  expect(formatProposal(entries[0] as EntryData)).toEqual({ command: tokenCommand("a") });
});

test.each([
  ["nothing", null],
  ["half a command", { command: { id: "a" } }],
  ["a session without a number", { command: tokenCommand("a"), session: { client: "c" } }],
  ["an answer before the question", { command: tokenCommand("a"), session: { ...session, acknowledged: 4 } }],
  ["an endless name", { openSession: "c".repeat(65) }],
])("%s is no proposal", (_, value) => expect(parseProposal(value)).toBeNull());

test("an answer that says nothing is a refusal that is not final", () => {
  expect(parseAcceptance({ ok: true })).toEqual({
    ok: false,
    reason: "no answer",
    isFinal: false,
    isOverloaded: false,
  });
  expect(parseAcceptance({ ok: true, id: { term: 1, index: 2 } })).toMatchObject({ ok: true });
  expect(parseDivergence({ index: -1, hash: "a" })).toBeNull();
});

test("the main thread is asked no more than it may work on, and each question has an end", async () => {
  const passed: number[] = [];
  const calls = new IncomingCalls((requestId) => passed.push(requestId), 2);
  const ask = () =>
    calls.ask(M2, "m", null).then(
      (value) => value,
      (error: Error) => error.message,
    );
  const [one, two] = [ask(), ask()];
  expect(await ask()).toContain("overloaded");
  calls.answer(passed[0] ?? 0, { ok: true, value: 7 });
  expect(await one).toBe(7);
  const three = ask();
  calls.close();
  expect(await Promise.all([two, three])).toEqual([
    "this member is shutting down",
    "this member is shutting down",
  ]);
});

function desk(ports: Partial<DeskPorts> = {}) {
  const taken: string[] = [];
  const made = new ProposalDesk({
    state: () => null,
    isDiskFull: () => false,
    propose: (data) => {
      taken.push(new TextDecoder().decode(data));
      return { ok: true, ids: [{ term: 1, index: 2 }] } as unknown as ReturnType<RaftNode["propose"]>;
    },
    ...ports,
  });
  return { made, taken };
}

test("the leader writes nothing that a member could not read, and says why", () => {
  const wish: EntryData = { kind: "command", command: tokenCommand("a"), session: null };
  expect(desk().made.take(wish)).toMatchObject({ ok: true });
  expect(desk({ isDiskFull: () => true }).made.take(wish)).toMatchObject({
    isFinal: false,
    reason: expect.stringContaining("disk of the leader is full"),
  });
  const early = desk();
  expect(early.made.take({ ...wish, session })).toMatchObject({ ok: false, isFinal: false });
  expect(early.made.take({ kind: "open-session", client: "c" })).toMatchObject({ ok: false, isFinal: false });
  const large = tokenCommand("x".repeat(2 ** 20));
  expect(early.made.take({ ...wish, command: large })).toMatchObject({ isFinal: true });
  expect(early.taken).toEqual([]);
  const level2 = desk({ state: () => ({ featureLevel: 2, tokens: [] }) as unknown as ClusterState });
  expect(level2.made.take({ kind: "open-session", client: "c" })).toMatchObject({ ok: true });
  const refuse = () => ({ ok: false, reason: "overloaded", leaderId: M1 }) as const;
  expect(desk({ propose: refuse }).made.take(wish)).toMatchObject({ isFinal: false, isOverloaded: true });
});

test("a wanted configuration is tried until it is in effect, replaced or the leadership lost", () => {
  const asked: (readonly MemberId[])[] = [];
  const answers: unknown[] = [];
  const node = {
    changeConfig: ({ voters }: { voters: readonly MemberId[] }) => {
      asked.push(voters);
      return answers.shift();
    },
  } as unknown as RaftNode;
  const status = (role: string, isConfigPending = false) =>
    ({ role, isConfigPending, config: { outgoing: [] } }) as unknown as NodeStatus;
  const wish = new ConfigWish();
  expect(wish.attempt(node, status("leader"))).toBe(false);
  wish.want({ voters: [M1, M2], learners: [] });
  answers.push({ ok: false, reason: "quorum-unreachable", leaderId: M1 });
  expect(wish.attempt(node, status("leader"))).toBe(true);
  expect(wish.refusal).toContain("too few of those who would vote are heard");
  answers.push({ ok: true, id: { term: 1, index: 5 } }, { ok: true, id: null }, { ok: true, id: null });
  wish.attempt(node, status("leader"));
  expect(wish.refusal).toBeNull();
  wish.attempt(node, status("leader", true));
  wish.attempt(node, status("leader"));
  wish.attempt(node, status("leader"));
  expect(asked).toHaveLength(4);
  wish.want({ voters: [M1], learners: [] });
  wish.attempt(node, status("follower"));
  wish.attempt(node, status("leader"));
  expect([asked.length, wish.refusal]).toEqual([4, null]);
});
