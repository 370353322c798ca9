import { expect, test } from "bun:test";
import type { FailoverDocument } from "../../../src/api/documents.ts";
import { renderFailover, renderFailovers } from "../../../src/cli/render-history.ts";

const FAILOVER: FailoverDocument = {
  number: 3,
  kind: "automatic",
  epoch: 7,
  nextEpoch: 8,
  from: "m1",
  to: "m3",
  at: "2026-11-25T10:00:00.000Z",
  by: "leader",
  reason: "postmaster-died",
  reasonText: "The primary's postmaster is gone.",
  evidence: ["the supervisor of m1 says that its PostgreSQL is stopped"],
  detectionMs: 10,
  phases: [
    { phase: "revoked", afterMs: 20 },
    { phase: "promoted", afterMs: 60 },
    { phase: "writable", afterMs: 90 },
    { phase: "rejoined", afterMs: 1_490 },
  ],
  positions: [
    { member: "m1", position: null, hasPledged: false },
    { member: "m2", position: "3:0/4000060", hasPledged: true },
    { member: "m3", position: "3:0/40000C8", hasPledged: true },
  ],
  passedOver: [
    { member: "m1", reason: "silent" },
    { member: "m2", reason: "behind by 104 bytes" },
  ],
  loss: null,
};

test("a change of the primary is drawn as a timeline that a long way back does not squash", () => {
  expect(renderFailover(FAILOVER)).toBe(`automatic no. 3: m1 -> m3, epoch 7 -> 8
2026-11-25T10:00:00.000Z
postmaster-died: The primary's postmaster is gone.

What was seen:
  the supervisor of m1 says that its PostgreSQL is stopped

  detected                  ###                                +10 ms  10 ms
  revoked, successor chosen    ######                          +20 ms  30 ms
  out of recovery                    ############              +40 ms  70 ms
  commits acknowledged                           #########     +30 ms  100 ms
  everybody streams                                    ...   +1400 ms  1500 ms

  MEMBER  POSITION     PLEDGED
  m1      -            no       silent
  m2      3:0/4000060  yes      behind by 104 bytes
  m3      3:0/40000C8  yes      appointed

No acknowledged commit was lost.
`);
});

test("a timeline fits 80 columns, however long the way back", () => {
  for (const afterMs of [1_490, 61_000, 86_400_000]) {
    const phases = [...FAILOVER.phases.slice(0, 3), { phase: "rejoined", afterMs }] as const;
    const lines = renderFailover({ ...FAILOVER, phases: [...phases] }).split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  }
});

test("a change that is under way, or lost something, says so", () => {
  const begun = renderFailover({
    ...FAILOVER,
    to: null,
    nextEpoch: null,
    phases: [],
    detectionMs: null,
    positions: [],
  });
  expect(begun).toContain("m1 -> nobody yet, epoch 7 -> ?");
  expect(begun).toContain("nothing was measured yet");
  expect(renderFailover({ ...FAILOVER, loss: "m2 may hold more", by: "ann" })).toContain(
    "Possible loss: m2 may hold more.",
  );
});

test("what a server sends moves nobody's cursor", () => {
  expect(renderFailover({ ...FAILOVER, from: "\u001b[2J" })).not.toContain("\u001b");
});

test("the list fits the terminal: what matters least is left out, and said to be", () => {
  const many: readonly FailoverDocument[] = [
    { ...FAILOVER, number: 100, from: "m1", reason: "member-lost" },
    { ...FAILOVER, number: 99, kind: "switchover", reason: "switchover", detectionMs: null },
  ];
  const widthOf = (text: string) => Math.max(...text.split("\n").map((line) => line.length));
  const all = renderFailovers(many);
  expect(widthOf(all)).toBeGreaterThan(80);
  expect(all).not.toContain("Left out");
  expect(renderFailovers(many, 200)).toBe(all);
  expect(
    renderFailovers(many, 80),
  ).toBe(`NO   WHEN                  KIND        FROM  TO  REASON       WRITABLE IN  LOSS
100  2026-11-25T10:00:00Z  automatic   m1    m3  member-lost  100 ms       none
99   2026-11-25T10:00:00Z  switchover  m1    m3  switchover   90 ms        none

Left out for want of room: epoch, all back in.
All of it: 'guacamole history show NO', or --output json.
`);
  const lossy = renderFailovers([{ ...FAILOVER, reason: "not-taking-connections", loss: "a few" }], 80);
  expect(widthOf(lossy)).toBeLessThanOrEqual(80);
  expect(lossy).toContain("possible");
  // Narrower than what has to stay: it wraps, and nothing more is left out.
  expect(renderFailovers(many, 20)).toContain("member-lost");
});

test("the list has a row each, or says that there is nothing", () => {
  expect(renderFailovers([])).toBe("The primary has not changed yet.\n");
  const rows = renderFailovers([FAILOVER, { ...FAILOVER, number: 2, loss: "something" }])
    .trim()
    .split("\n");
  expect(rows).toHaveLength(3);
  expect(rows[1]).toContain("100 ms");
  expect(rows[2]).toContain("possible");
});
