import { expect, test } from "bun:test";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { ProposeResult } from "../../../src/cluster/consensus.ts";
import { type Acceptance, type ProposalPorts, Proposals } from "../../../src/main/proposals.ts";
import { PeerError } from "../../../src/peer/peer-error.ts";
import { M2, tokenCommand } from "../store/sample.ts";

const at = (index: number, term = 1) => ({ index: index as LogIndex, term: term as Term });
const DONE: ProposeResult = { kind: "applied", outcome: { ok: true } };

function world(ports: Partial<ProposalPorts>) {
  const asked: string[] = [];
  const proposals = new Proposals({
    leader: () => null,
    proposeHere: ({ id }): Acceptance => {
      asked.push(id);
      return { ok: true, id: at(asked.length) };
    },
    proposeThere: () => Promise.reject(new PeerError("unreachable", "gone")),
    nowMs: () => 0,
    ...ports,
  });
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
  proposals.applied("a", { ok: true });
  expect(await result).toEqual(DONE);
  proposals.applied("a", { ok: true });
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
  proposals.applied("a", { ok: true });
  expect(await result).toEqual(DONE);
});

test("two that wait for the same command get the same answer; closing answers those that are left", async () => {
  const { proposals, add } = world({});
  const both = [add("a", 60_000), add("a", 60_000)];
  proposals.applied("a", { ok: true });
  expect(await Promise.all(both)).toEqual([DONE, DONE]);
  const left = add("b", 60_000);
  proposals.close();
  expect(await left).toMatchObject({ kind: "unknown" });
});
