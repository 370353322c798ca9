import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Epoch, TimelineId } from "../../../src/base/ids.ts";
import {
  NO_PROMISES,
  PromiseBook,
  refusePledged,
  refuseStale,
  withNewest,
  withPledge,
  withWal,
} from "../../../src/supervisor/promises.ts";

const epoch = (value: number): Epoch => value as Epoch;

describe("the rules", () => {
  const timelines = [{ timeline: 2 as TimelineId, epoch: epoch(1) }];
  const pledged = withPledge(withWal(NO_PROMISES, { epoch: epoch(3), timelines }), epoch(5));

  test("a pledge is also the newest epoch, and leaves the WAL's where it was", () => {
    expect(pledged).toEqual({ newestEpoch: epoch(5), pledgedEpoch: epoch(5), walEpoch: epoch(3), timelines });
  });

  test("promises never go back", () => {
    expect(withPledge(pledged, epoch(1))).toEqual(pledged);
    expect(withWal(pledged, { epoch: epoch(1), timelines: [] })).toEqual(pledged);
    expect(withNewest(pledged, epoch(1))).toEqual(pledged);
  });

  test.each([
    [4, "stale-epoch", "stale-epoch"],
    [5, null, "pledged"],
    [6, null, null],
  ] as const)("in epoch %d: without WAL %p, with WAL %p", (value, withoutWal, taking) => {
    expect(refuseStale(pledged, epoch(value))?.code ?? null).toBe(withoutWal);
    expect(refusePledged(pledged, epoch(value))?.code ?? null).toBe(taking);
  });
});

describe("on disk", () => {
  let directory = "";
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "gcm-unit-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test("F3: what was kept is there after a crash", () => {
    const file = join(directory, "promises.json");
    new PromiseBook(file).keep(withPledge(NO_PROMISES, epoch(7)));
    expect(new PromiseBook(file).current.pledgedEpoch).toBe(epoch(7));
    expect(existsSync(`${file}.new`)).toBe(false);
  });

  test.each([
    "",
    "{",
    "null",
    "{}",
    '{"newestEpoch":1,"pledgedEpoch":-1,"walEpoch":0,"timelines":[]}',
    '{"newestEpoch":1,"pledgedEpoch":1,"walEpoch":1}',
  ])("damaged promises (%p) are never taken for none", (text) => {
    const file = join(directory, "promises.json");
    writeFileSync(file, text);
    expect(() => new PromiseBook(file)).toThrow("is damaged");
  });
});
