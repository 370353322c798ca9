import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../../src/base/clock.ts";
import { ServiceManager } from "../../../src/main/service-manager.ts";
import { STAND_IN_VARIABLE } from "../../../src/supervisor/member-guard.ts";
import { receiveUnix, type SyslogReceiver } from "../../support/syslog-receivers.ts";
import { createFake } from "../api/fixture.ts";

const WATCHED = { WATCHDOG_USEC: "40000", WATCHDOG_PID: "7" };
const { ports, logged } = createFake();
const { log } = ports;
let directory: string;
let told: SyslogReceiver;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "notify-"));
  told = receiveUnix(join(directory, "notify"));
  logged.splice(0);
});
afterEach(() => {
  told.close();
  rmSync(directory, { recursive: true });
});

/** Sleeps until it is stepped on, and remembers how long was asked for. */
class SteppedClock implements Clock {
  readonly asked: number[] = [];
  #wake: () => void = () => {};

  nowMs(): number {
    return 0;
  }

  wallMs(): number {
    return 0;
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    this.asked.push(durationMs);
    return new Promise((resolve, reject) => {
      this.#wake = resolve;
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  }

  async step(): Promise<void> {
    this.#wake();
    await Bun.sleep(0);
  }
}

const clock = () => new SteppedClock();

function managed(environment: Readonly<Record<string, string>>, stepped = clock()): ServiceManager {
  const socket = { NOTIFY_SOCKET: join(directory, "notify") };
  return new ServiceManager({
    environment: { ...socket, ...environment },
    processId: 7,
    clock: stepped,
    log,
  });
}

/** All that was told, in its order: nothing comes after the end. */
async function all(): Promise<readonly string[]> {
  while (!told.messages.includes("STOPPING=1")) await Bun.sleep(5);
  return told.messages;
}

test("it is told once that the process is up, and that it ends", async () => {
  const own = managed({});
  own.ready(() => true);
  own.stopping();
  expect(await all()).toEqual(["READY=1", "STOPPING=1"]);
});

test("it hears that the process lives, often enough, but not while its loop stands still", async () => {
  const stepped = clock();
  const own = managed(WATCHED, stepped);
  let isAlive = true;
  own.ready(() => isAlive);
  await stepped.step();
  isAlive = false;
  await stepped.step();
  await stepped.step();
  isAlive = true;
  await stepped.step();
  own.stopping();
  expect(await all()).toEqual(["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]);
  expect(stepped.asked).toEqual([10, 10, 10, 10, 10]);
});

test.each([
  ["does not wait for a sign of life", {}],
  ["waits for one of another process", { ...WATCHED, WATCHDOG_PID: "8" }],
  ["says nothing that is a time", { WATCHDOG_USEC: "soon" }],
])("one that %s hears none", async (_what, environment) => {
  const stepped = clock();
  const own = managed(environment, stepped);
  own.ready(() => true);
  own.stopping();
  expect(await all()).toEqual(["READY=1", "STOPPING=1"]);
  expect(stepped.asked).toEqual([]);
});

test("a stand-in tells nobody: it was not started by the service manager", async () => {
  const own = managed({ ...WATCHED, [STAND_IN_VARIABLE]: "1" });
  own.ready(() => true);
  own.stopping();
  managed({}).stopping();
  expect(await all()).toEqual(["STOPPING=1"]);
});

test("one that is not there is a line in the log, once", () => {
  const environment = { NOTIFY_SOCKET: join(directory, "nobody") };
  const own = new ServiceManager({ environment, processId: 7, clock: clock(), log });
  own.ready(() => true);
  own.stopping();
  expect(logged).toEqual(["service-manager.not-told"]);
});
