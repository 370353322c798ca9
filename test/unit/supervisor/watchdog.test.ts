import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../../../src/base/log.ts";
import { timeoutSeconds, Watchdog, type WatchdogMode } from "../../../src/supervisor/watchdog.ts";
import { openWatchdogDevice, type WatchdogDevice } from "../../../src/supervisor/watchdog-device.ts";

const LEASE_MS = 3_000;

let events: string[];
const note = (event: string): void => {
  events.push(event);
};
const log: Log = { error: note, warn: note, info: note, debug: note };

/** Writes down what is asked of it. */
class RecordedDevice implements WatchdogDevice {
  readonly asked: string[] = [];
  readonly #seconds: number | null;

  /** `seconds`: what it takes whatever is asked; null: as asked. */
  constructor(seconds: number | null = null) {
    this.#seconds = seconds;
  }

  setTimeout(seconds: number): number {
    this.asked.push(`timeout ${seconds}`);
    return this.#seconds ?? seconds;
  }

  feed(): void {
    this.asked.push("feed");
  }

  disarm(): void {
    this.asked.push("disarm");
  }
}

function watchdogOn(open: () => WatchdogDevice, mode: WatchdogMode = "automatic"): Watchdog {
  let nowMs = 0;
  return new Watchdog({ mode, open, nowMs: () => (nowMs += 10_000), log });
}

beforeEach(() => {
  events = [];
});

describe("a device that works", () => {
  test("is fed only while more is left of the lease than it waits: the reset comes before the end", () => {
    const device = new RecordedDevice();
    const watchdog = watchdogOn(() => device);
    expect(watchdog.arm(LEASE_MS)).toBe(true);
    for (const remainingMs of [3_000, 2_500, 2_001, 2_000, 1_999, 100, -5]) watchdog.keep(remainingMs);
    expect(device.asked).toEqual(["timeout 2", "feed", "feed", "feed"]);
  });

  test("is disarmed once, when nothing reigns under a lease any more", () => {
    const device = new RecordedDevice();
    const watchdog = watchdogOn(() => device);
    watchdog.arm(LEASE_MS);
    watchdog.arm(LEASE_MS);
    watchdog.release();
    watchdog.release();
    watchdog.keep(LEASE_MS);
    expect(device.asked).toEqual(["timeout 2", "disarm"]);
  });

  test("is set anew when leases become shorter", () => {
    const device = new RecordedDevice();
    const watchdog = watchdogOn(() => device);
    watchdog.arm(6_000);
    watchdog.arm(LEASE_MS);
    expect(device.asked).toEqual(["timeout 4", "timeout 2"]);
  });

  test.each([
    [600, 1],
    [1_800, 1],
    [3_000, 2],
    [18_000, 13],
  ])("a lease of %d ms: a timeout of %d s", (leaseMs, seconds) => {
    expect(timeoutSeconds(leaseMs)).toBe(seconds);
  });
});

describe("a device that only waits longer than a lease lasts", () => {
  test.each([
    ["automatic", true],
    ["required", false],
  ] as const)("is given back; %s: may reign %p", (mode, mayReign) => {
    const device = new RecordedDevice(60);
    const watchdog = watchdogOn(() => device, mode);
    expect(watchdog.arm(LEASE_MS)).toBe(mayReign);
    watchdog.keep(LEASE_MS);
    expect(device.asked).toEqual(["timeout 2", "disarm"]);
    expect(events).toContain("supervisor.watchdog.unusable");
  });
});

test("off: nothing is opened", () => {
  const watchdog = watchdogOn(() => {
    throw new Error("opened");
  }, "off");
  expect(watchdog.arm(LEASE_MS)).toBe(true);
  expect(events).toEqual([]);
});

describe("what is no watchdog", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "guacamole-watchdog-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  test("a plain file: automatic warns once and goes on, required does without a primary", () => {
    const path = join(root, "file");
    writeFileSync(path, "");
    const automatic = watchdogOn(() => openWatchdogDevice(path));
    expect([automatic.arm(LEASE_MS), automatic.arm(LEASE_MS)]).toEqual([true, true]);
    expect(events.filter((event) => event === "supervisor.watchdog.unusable")).toHaveLength(1);
    expect(watchdogOn(() => openWatchdogDevice(path), "required").arm(LEASE_MS)).toBe(false);
    automatic.keep(LEASE_MS);
    // Each that was opened was closed with the sign that this is meant, and never fed.
    expect(readFileSync(path, "utf8")).toMatch(/^V+$/);
  });

  test("nothing there: none is made", () => {
    const path = join(root, "absent");
    expect(watchdogOn(() => openWatchdogDevice(path), "required").arm(LEASE_MS)).toBe(false);
    expect(existsSync(path)).toBe(false);
  });

  test("a pipe that nobody reads holds nobody up", () => {
    const path = join(root, "pipe");
    Bun.spawnSync(["mkfifo", path]);
    expect(watchdogOn(() => openWatchdogDevice(path), "required").arm(LEASE_MS)).toBe(false);
  });
});
