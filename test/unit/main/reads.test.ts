import { expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { BarrierResult } from "../../../src/cluster/consensus.ts";
import { type ReadPorts, Reads } from "../../../src/main/reads.ts";
import { M1, M2 } from "../store/sample.ts";

const index = (value: number) => value as LogIndex;

/** Every promise that is settled has told so. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

function world(ports: Partial<ReadPorts> = {}, countMax = 10) {
  const at = { leader: null as MemberId | null | undefined, applied: 0 };
  const asked: number[] = [];
  const reads = new Reads(
    {
      leader: () => at.leader,
      appliedIndex: () => index(at.applied),
      readHere: (id) => {
        asked.push(id);
        return null;
      },
      readThere: () => Promise.reject(new Error("gone")),
      ...ports,
    },
    countMax,
  );
  const add = (deadlineMs = 60_000) =>
    new Promise<BarrierResult>((resolve) => reads.add(deadlineMs, resolve));
  return { at, asked, reads, add };
}

test("a read waits until what was committed when it began is applied here", async () => {
  const { at, asked, reads, add } = world();
  at.applied = 4;
  const read = add();
  expect(asked).toEqual([1]);
  reads.confirmed([{ id: 1, index: index(6) }]);
  await settled();
  at.applied = 5;
  reads.raftChanged();
  expect(await Promise.race([read, Promise.resolve("waits")])).toBe("waits");
  at.applied = 7;
  reads.raftChanged();
  expect(await read).toEqual({ kind: "reached", index: index(7) });
});

test("reads that come while the leader is being asked share the next question, never the present one", async () => {
  const { at, asked, reads, add } = world();
  at.applied = 9;
  const first = add();
  const later = [add(), add()];
  expect(asked).toEqual([1]);
  reads.confirmed([{ id: 1, index: index(5) }]);
  expect((await first).kind).toBe("reached");
  await settled();
  expect(asked).toEqual([1, 2]);
  reads.confirmed([{ id: 2, index: index(5) }]);
  expect((await Promise.all(later)).map(({ kind }) => kind)).toEqual(["reached", "reached"]);
});

test("an attempt that failed is made again under another number, and a late answer to the old one confirms nothing", async () => {
  const { at, asked, reads, add } = world();
  const read = add();
  reads.confirmed([{ id: 1, index: null }]);
  while (asked.length < 2) await settled();
  expect(asked).toEqual([1, 2]);
  reads.confirmed([{ id: 1, index: index(0) }]);
  expect(await Promise.race([read, settled().then(() => "waits")])).toBe("waits");
  reads.confirmed([{ id: 2, index: index(3) }]);
  await settled();
  at.applied = 3;
  reads.raftChanged();
  expect((await read).kind).toBe("reached");
});

test("when another member leads, it is asked instead, and what the old one says late does not count", async () => {
  const answers = new Map<MemberId, (value: LogIndex) => void>();
  const { at, reads, add } = world({
    readThere: (leader) => new Promise((resolve) => answers.set(leader, resolve)),
  });
  at.leader = M1;
  at.applied = 10;
  const read = add();
  at.leader = M2;
  reads.raftChanged();
  answers.get(M1)?.(index(1));
  expect(await Promise.race([read, settled().then(() => "waits")])).toBe("waits");
  while (!answers.has(M2)) await settled();
  answers.get(M2)?.(index(10));
  expect(await read).toEqual({ kind: "reached", index: index(10) });
});

test("without an answer in time it is unknown, with the reason", async () => {
  const nobody = world();
  nobody.at.leader = undefined;
  expect(await nobody.add(1)).toEqual({ kind: "unknown", reason: "no leader is known" });
  const gone = world();
  gone.at.leader = M2;
  expect(await gone.add(1)).toEqual({ kind: "unknown", reason: "gone" });
  const refused = world({ readHere: () => "too many" });
  expect(await refused.add(1)).toEqual({ kind: "unknown", reason: "too many" });
});

test("more than may wait are turned away, and closing answers those that are left", async () => {
  const { reads, add } = world({}, 2);
  const waiting = [add(), add()];
  expect(await add()).toMatchObject({ kind: "unknown", reason: expect.stringContaining("overloaded") });
  const forOther = reads.indexForOther().then(
    () => "answered",
    (error: Error) => error.message,
  );
  reads.close();
  expect((await Promise.all(waiting)).every(({ kind }) => kind === "unknown")).toBe(true);
  expect(await forOther).toContain("leadership was lost");
});
