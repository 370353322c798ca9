import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServiceManager } from "../../../src/main/service-manager.ts";
import { STAND_IN_VARIABLE } from "../../../src/supervisor/member-guard.ts";
import { realClock } from "../../support/postgres-clock.ts";
import { receiveUnix, type SyslogReceiver } from "../../support/syslog-receivers.ts";
import { createFake } from "../api/fixture.ts";

const WATCHED = { WATCHDOG_USEC: "40000", WATCHDOG_PID: "7" };
const { ports, logged } = createFake();
const { log } = ports;
let directory: string;
let told: SyslogReceiver;
let manager: ServiceManager | null = null;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "notify-"));
  told = receiveUnix(join(directory, "notify"));
});
afterEach(() => {
  manager?.stopping();
  manager = null;
  told.close();
  rmSync(directory, { recursive: true });
});

function managed(environment: Readonly<Record<string, string>>): ServiceManager {
  const socket = { NOTIFY_SOCKET: join(directory, "notify") };
  manager = new ServiceManager({
    environment: { ...socket, ...environment },
    processId: 7,
    clock: realClock,
    log,
  });
  return manager;
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await Bun.sleep(5);
}

const signs = () => told.messages.filter((message) => message === "WATCHDOG=1").length;

test("it is told once that the process is up, and that it ends", async () => {
  const own = managed({});
  own.ready(() => true);
  own.stopping();
  await until(() => told.messages.length >= 2);
  expect(told.messages).toEqual(["READY=1", "STOPPING=1"]);
});

test("it hears that the process lives, again and again, but not while its loop stands still", async () => {
  let isAlive = true;
  managed(WATCHED).ready(() => isAlive);
  await until(() => signs() > 5);
  isAlive = false;
  await Bun.sleep(30);
  const before = signs();
  await Bun.sleep(100);
  expect(signs()).toBe(before);
  isAlive = true;
  await until(() => signs() > before);
});

test.each([
  ["does not wait for a sign of life", {}],
  ["waits for one of another process", { ...WATCHED, WATCHDOG_PID: "8" }],
  ["says nothing that is a time", { WATCHDOG_USEC: "soon" }],
])("one that %s hears none", async (_what, environment) => {
  managed(environment).ready(() => true);
  await until(() => told.messages.length > 0);
  await Bun.sleep(60);
  expect(told.messages).toEqual(["READY=1"]);
});

test("a stand-in tells nobody: it was not started by the service manager", async () => {
  const own = managed({ ...WATCHED, [STAND_IN_VARIABLE]: "1" });
  own.ready(() => true);
  own.stopping();
  await Bun.sleep(60);
  expect(told.messages).toEqual([]);
});

test("one that is not there is a line in the log, and no more", () => {
  const environment = { NOTIFY_SOCKET: join(directory, "nobody") };
  new ServiceManager({ environment, processId: 7, clock: realClock, log }).ready(() => true);
  expect(logged.at(-1)).toBe("service-manager.not-told");
});
