import { expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { REPEAT_MS, StatusExchange } from "../../../src/main/status-exchange.ts";
import type { AgedStatus, HostReport } from "../../../src/peer/status-codec.ts";
import { M1, M2 } from "../store/sample.ts";
import { status } from "./members.ts";

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
const HOST: HostReport = {
  commitWorstMs: 1,
  latenessMs: 2,
  isDiskFull: false,
  stateHash: { index: 7 as LogIndex, hash: "ab" },
};

function world() {
  const at = { nowMs: 1000, leaderId: null as MemberId | null };
  const sent: string[] = [];
  const statuses: AgedStatus[] = [];
  const connected = new Set([M2, M3]);
  const exchange = new StatusExchange({
    selfId: M1,
    nowMs: () => at.nowMs,
    leaderId: () => at.leaderId,
    otherIds: () => [M2, M3],
    host: () => HOST,
    isConnected: (id) => connected.has(id),
    sendStatus: (to, said) => {
      sent.push(`status to ${to}`);
      statuses.push(said);
    },
    sendDigest: (to, digest) => sent.push(`digest of ${digest.length} to ${to}`),
  });
  return { at, sent, statuses, connected, exchange };
}

test("whoever begins to lead is told at once, with how old it is and how the machine is", () => {
  const { at, sent, statuses, exchange } = world();
  exchange.publish(status(M1, 1), 900);
  expect(sent).toEqual([]);
  at.leaderId = M2;
  exchange.leaderChanged();
  at.leaderId = M3;
  at.nowMs = 1250;
  exchange.leaderChanged();
  expect(sent).toEqual([`status to ${M2}`, `status to ${M3}`]);
  expect(statuses.map(({ ageMs, host }) => [ageMs, host])).toEqual([
    [100, HOST],
    [350, HOST],
  ]);
});

test("a leader that could not be reached is told when it can", () => {
  const { at, sent, connected, exchange } = world();
  exchange.publish(status(M1, 1), 900);
  at.leaderId = M2;
  connected.delete(M2);
  exchange.leaderChanged();
  expect(sent).toEqual([]);
  connected.add(M2);
  exchange.connected(M2, true);
  expect(sent).toEqual([`status to ${M2}`]);
});

test("news goes at once, the same again with a heartbeat now and then", () => {
  const { at, sent, exchange } = world();
  at.leaderId = M2;
  exchange.publish(status(M1, 1), 1000);
  exchange.publish(status(M1, 2), 1000);
  expect(sent).toHaveLength(1);
  exchange.publish(status(M1, 3, "news"), 1000);
  expect(sent).toHaveLength(2);
  exchange.heartbeatHeard();
  at.nowMs += REPEAT_MS - 1;
  exchange.heartbeatHeard();
  expect(sent).toHaveLength(2);
  at.nowMs += 1;
  exchange.heartbeatHeard();
  expect(sent).toHaveLength(3);
});

test("a leader passes on what it knows: news with the next heartbeat, all of it to who has just come", () => {
  const { at, sent, exchange } = world();
  at.leaderId = M1;
  exchange.leaderChanged();
  exchange.takeStatus(M2, { status: status(M2, 1), ageMs: 0, host: null });
  exchange.sendDigest(75);
  expect(sent).toEqual([`digest of 1 to ${M2}`, `digest of 1 to ${M3}`]);
  at.nowMs += 75;
  exchange.sendDigest(75);
  expect(sent).toHaveLength(2);
  exchange.connected(M3, true);
  exchange.sendDigest(75);
  expect(sent).toHaveLength(4);
});

test("what members say of their machines and states is kept until they are members no more; old releases say nothing", () => {
  const { at, exchange } = world();
  exchange.takeStatus(M2, { status: status(M2, 1), ageMs: 0, host: HOST });
  exchange.takeStatus(M3, { status: status(M3, 1), ageMs: 0, host: null });
  const { stateHash: _stateHash, ...health } = HOST;
  expect(exchange.health).toEqual([expect.objectContaining({ ...health, memberId: M2, atMs: at.nowMs })]);
  expect(exchange.hashes).toEqual([{ memberId: M2, index: 7 as LogIndex, hash: "ab" }]);
  exchange.keepOnly(new Set([M1, M3]));
  expect([exchange.health, exchange.hashes]).toEqual([[], []]);
});

test("a digest of somebody who does not lead is not believed", () => {
  const { at, exchange } = world();
  at.leaderId = M2;
  const digest = [{ status: status(M3, 1), statusAgeMs: 0, heardAgeMs: 0, isConnected: true }];
  exchange.takeDigest(M3, digest);
  expect(exchange.board.observations(at.nowMs)).toEqual([]);
  exchange.takeDigest(M2, digest);
  expect(exchange.board.observations(at.nowMs)).toHaveLength(1);
});
