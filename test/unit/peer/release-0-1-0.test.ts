/**
 * What release 0.1.0 sent, recorded from it byte by byte: this release understands it and sends the same, so that members
 * of both can be in one cluster while it is upgraded.
 */
import { expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import { encodeFrame, FrameReader } from "../../../src/peer/frame.ts";
import { parseHello, whyRefused } from "../../../src/peer/hello.ts";
import { decodeMessage, encodeMessage } from "../../../src/peer/message-codec.ts";
import { parseAgedStatus } from "../../../src/peer/status-codec.ts";
import type { Message } from "../../../src/raft/engine/message.ts";
import { CLUSTER, entry, M1, M2 } from "../store/sample.ts";

const head = { from: M1, to: M2, term: 7 as Term };
const at = (index: number, term = 3) => ({ index: index as LogIndex, term: term as Term });

const RECORDED: readonly (readonly [string, Message])[] = [
  [
    "0000001b0100401c0000000000004008000000000000402200000000000000",
    { ...head, type: "pre-vote", last: at(9), isTransfer: false },
  ],
  [
    "0000001b0101401c0000000000004008000000000000401000000000000001",
    { ...head, type: "vote", last: at(4), isTransfer: true },
  ],
  ["0000000b0102401c00000000000001", { ...head, type: "pre-vote-response", isGranted: true }],
  ["0000000b0103401c00000000000000", { ...head, type: "vote-response", isGranted: false }],
  [
    "0000006e0104401c0000000000004008000000000000401000000000000040100000000000004008000000000000" +
      "4008000000000000401400000000000000000000004010000000000000401800000000000001000000030900ff" +
      "401c000000000000401c00000000000002000000027b7d",
    {
      ...head,
      type: "append",
      previous: at(4),
      entries: [
        entry(5, 3, "noop"),
        entry(6, 4, "command", new Uint8Array([9, 0, 255])),
        entry(7, 7, "config", new TextEncoder().encode("{}")),
      ],
      commit: 4 as LogIndex,
    },
  ],
  [
    "000000130105401c000000000000402200000000000000",
    { ...head, type: "append-response", index: 9 as LogIndex, rejection: null },
  ],
  [
    "000000230105401c00000000000040220000000000000140080000000000004008000000000000",
    { ...head, type: "append-response", index: 9 as LogIndex, rejection: at(3) },
  ],
  [
    "0000001a0106401c00000000000040100000000000004028000000000000",
    { ...head, type: "heartbeat", commit: 4 as LogIndex, round: 12 },
  ],
  ["000000120107401c0000000000004028000000000000", { ...head, type: "heartbeat-response", round: 12 }],
  ["0000000a0108401c000000000000", { ...head, type: "timeout-now" }],
];

test.each(RECORDED)("%s", (hex, message) => {
  const [frame] = new FrameReader().push(Buffer.from(hex, "hex"));
  expect(frame?.kind).toBe("raft");
  expect(decodeMessage(frame?.payload ?? new Uint8Array(), M1, M2)).toEqual(message);
  expect(Buffer.from(encodeFrame("raft", encodeMessage(message))).toString("hex")).toBe(hex);
});

test("the other frames keep their numbers", () => {
  const kinds = ["hello", "raft", "status", "digest", "call", "reply", "failure", "ping", "pong"] as const;
  for (const [number, kind] of kinds.entries()) expect(encodeFrame(kind, new Uint8Array())[4]).toBe(number);
});

test("its hello is that of an ordinary connection of a group that was never recovered", () => {
  const own = {
    protocol: 1,
    clusterId: CLUSTER,
    memberId: M1,
    recoveryEpoch: 0,
    purpose: "raft",
  } as const;
  const hello = parseHello({ protocol: 1, clusterId: CLUSTER, memberId: M2 });
  expect(hello).toEqual({ ...own, memberId: M2 });
  expect(hello === null ? "none" : whyRefused(hello, own, M2)).toBeNull();
  expect(hello === null ? "none" : whyRefused(hello, { ...own, recoveryEpoch: 1 }, M2)).toContain("epoch 0");
});

test("its status is understood", () => {
  const status = {
    memberId: M1,
    bootId: "b",
    sequence: 4,
    postgres: { kind: "absent" },
    promises: { newestEpoch: 0, pledgedEpoch: 0, walEpoch: 0, timelines: [] },
    isRebuilt: false,
    work: null,
    reason: "idle",
    detail: null,
    leading: null,
    version: "0.1.0",
  };
  expect(parseAgedStatus({ status, ageMs: 3 }, M1)).toMatchObject({ status, ageMs: 3, host: null });
});
