import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Epoch } from "../../../src/base/ids.ts";
import type { Log } from "../../../src/base/log.ts";
import type { HookResult } from "../../../src/cluster/observation.ts";
import type { PrimaryChange } from "../../../src/decision/primary-changes.ts";
import type { HooksConfig } from "../../../src/main/config.ts";
import { Hooks } from "../../../src/main/hooks.ts";
import { realClock } from "../../support/postgres-clock.ts";
import { until } from "../../support/postgres-farm.ts";

let directory: string;
const logged: string[] = [];
const note = (event: string) => void logged.push(event);
const log: Log = { error: note, warn: note, info: note, debug: note };

beforeEach(() => {
  logged.length = 0;
  directory = mkdtempSync(join(tmpdir(), "guacamole-hooks-"));
  // Hooks run as PostgreSQL's user, whoever starts the tests.
  chmodSync(directory, 0o777);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function script(name: string, body: string): string {
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

const NONE: HooksConfig = {
  onRoleChange: null,
  beforeSwitchover: null,
  afterSwitchover: null,
  afterFailover: null,
  timeoutMs: 5_000,
  attempts: 1,
};
const results: HookResult[] = [];
/** How long was waited between attempts. */
const slept: number[] = [];
const hastyClock = {
  ...realClock,
  sleep: async (durationMs: number) => {
    slept.push(durationMs);
  },
};

function hooksWith(over: Partial<HooksConfig>): Hooks {
  results.length = 0;
  slept.length = 0;
  return new Hooks({
    config: { ...NONE, ...over },
    user: "postgres",
    member: "m1",
    cluster: () => "orders",
    toldRoleFile: join(directory, "told-role"),
    toldChangesFile: join(directory, "told-changes"),
    onResult: (result) => results.push(result),
    clock: hastyClock,
    log,
  });
}

const toldRole = () => readFileSync(join(directory, "told-role"), "utf8").trim();
const said = () => readFileSync(join(directory, "said"), "utf8");

describe("a change of role", () => {
  const told = () =>
    script("on-role-change", `echo "$@ $GUACAMOLE_MEMBER $(id -u)" >> ${join(directory, "said")}`);

  test("is told once, in the words of other callbacks, and without root's rights", async () => {
    const hooks = hooksWith({ onRoleChange: told() });
    for (const role of ["replica", null, "replica"] as const) hooks.tellRole(role);
    await until("the first is told", async () => (hooks.status.last === null ? null : true));
    hooks.tellRole("primary");
    await until("the second is told", async () => (toldRole() === "primary" ? true : null));
    const uid = process.getuid?.() === 0 ? Bun.spawnSync(["id", "-u", "postgres"]).stdout : null;
    const user = uid?.toString().trim() ?? String(process.getuid?.());
    expect(said()).toBe(
      `on_role_change replica orders m1 ${user}\non_role_change primary orders m1 ${user}\n`,
    );
    expect(hooks.status.last).toMatchObject({ hook: "on-role-change", isOk: true });
  });

  test("that was told before a restart is not told again, one that was missed is", async () => {
    writeFileSync(join(directory, "told-role"), "replica\n");
    const hooks = hooksWith({ onRoleChange: told() });
    hooks.tellRole("replica");
    hooks.tellRole("primary");
    await until("it is told", async () => (toldRole() === "primary" ? true : null));
    expect(said()).toStartWith("on_role_change primary orders");
    expect(logged).toEqual(["hook.ran"]);
  });
});

describe("before a switchover", () => {
  test("a program that fails refuses it, in its own words", async () => {
    const refuses = script("before", 'echo "$2 to $4: the batch run is not over" >&2; exit 1');
    const hooks = hooksWith({ beforeSwitchover: refuses });
    expect(hooks.status.guardsSwitchover).toBe(true);
    const asked = await hooks.beforeSwitchover("m2");
    expect(asked.ok).toBe(false);
    if (!asked.ok) expect(asked.error).toContain("primary to m2: the batch run is not over");
    expect(hooks.status.last).toMatchObject({ hook: "before-switchover", isOk: false });
    expect(logged).toEqual(["hook.failed"]);
  });

  test("one that hangs is ended, with what it started", async () => {
    const late = join(directory, "late");
    const hangs = script("before", `(sleep 3; touch ${late}) & wait`);
    const asked = await hooksWith({ beforeSwitchover: hangs, timeoutMs: 100 }).beforeSwitchover("m2");
    expect(asked).toEqual({ ok: false, error: `${hangs} took longer than 0.1 s and was ended` });
    expect(Bun.spawnSync(["pgrep", "-f", late]).stdout.toString()).toBe("");
    expect(existsSync(late)).toBe(false);
  });

  test("one that agrees, or that there is not, lets it go on", async () => {
    expect(await hooksWith({ beforeSwitchover: script("before", "true") }).beforeSwitchover("m2")).toEqual({
      ok: true,
      value: null,
    });
    expect((await hooksWith({}).beforeSwitchover("m2")).ok).toBe(true);
    const missing = await hooksWith({ beforeSwitchover: "/no/such/program" }).beforeSwitchover("m2");
    expect(missing.ok).toBe(false);
  });
});

describe("after a change of the primary", () => {
  const change = (key: string, over: Partial<PrimaryChange> = {}): PrimaryChange => ({
    key,
    hook: "after-switchover",
    from: "m1",
    to: "m2",
    primary: "m2",
    epoch: 4 as Epoch,
    result: "succeeded",
    detail: "m2 takes writes",
    atMs: Date.now(),
    ...over,
  });
  const words = "$@ $GUACAMOLE_PRIMARY $GUACAMOLE_RESULT: $GUACAMOLE_DETAIL";
  const tells = () => script("after", `echo "${words}" >> ${join(directory, "said")}`);
  const toldChanges = () => readFileSync(join(directory, "told-changes"), "utf8").trim().split("\n");
  const untilTold = (count: number) =>
    until("it is told", async () => (results.length >= count ? true : null));

  test("it is told what and what came of it, once, in order, each to its program", async () => {
    const hooks = hooksWith({ afterSwitchover: tells(), afterFailover: tells() });
    const failover = {
      hook: "after-failover",
      from: "m2",
      to: "m3",
      primary: "m3",
      detail: "member-lost",
    } as const;
    const both = [change("switchover a"), change("failover 2", { ...failover, epoch: 5 as Epoch })];
    for (const seen of [both.slice(0, 1), both, both]) hooks.tellChanges(seen);
    await untilTold(2);
    expect(said()).toBe(
      "after_switchover none orders m1 m2 4 succeeded m2 succeeded: m2 takes writes\n" +
        "after_failover none orders m2 m3 5 succeeded m3 succeeded: member-lost\n",
    );
    expect(toldChanges()).toEqual(["switchover a", "failover 2"]);
    expect(hooks.status.results).toMatchObject([
      { hook: "after-switchover", isOk: true, attempts: 1 },
      { hook: "after-failover", isOk: true, attempts: 1 },
    ]);
  });

  test("what was told before a restart, or is long over, is not told; what was missed is", async () => {
    writeFileSync(join(directory, "told-changes"), "switchover a\n");
    const hooks = hooksWith({ afterSwitchover: tells() });
    const old = change("switchover 0", { atMs: Date.now() - 3_600_000 });
    hooks.tellChanges([
      old,
      change("switchover a"),
      change("switchover b", { result: "failed", primary: "m1" }),
    ]);
    await untilTold(1);
    expect(said()).toBe("after_switchover none orders m1 m2 4 failed m1 failed: m2 takes writes\n");
    expect(toldChanges()).toContain("switchover b");
  });

  test("one that fails is tried again, later each time, and no more often than it may be", async () => {
    const third = script(
      "third",
      `echo x >> ${join(directory, "said")}; [ $(wc -l < ${join(directory, "said")}) -ge 3 ]`,
    );
    hooksWith({ afterSwitchover: third, attempts: 5 }).tellChanges([change("switchover a")]);
    await untilTold(1);
    expect(results).toMatchObject([{ hook: "after-switchover", isOk: true, attempts: 3 }]);
    expect(slept).toEqual([1_000, 2_000]);
    hooksWith({ afterSwitchover: script("never", "exit 1"), attempts: 2 }).tellChanges([
      change("switchover b"),
    ]);
    await untilTold(1);
    expect(results).toMatchObject([{ hook: "after-switchover", isOk: false, attempts: 2 }]);
  });

  test("a new role is told before what had it change, and waits for nothing itself", async () => {
    const file = join(directory, "said");
    const roles = script("roles", `sleep 0.2; echo role >> ${file}`);
    const hooks = hooksWith({
      onRoleChange: roles,
      afterSwitchover: script("after", `echo change >> ${file}`),
    });
    hooks.tellRole("primary");
    hooks.tellChanges([change("switchover a")]);
    await untilTold(2);
    expect(said()).toBe("role\nchange\n");
  });

  test("what a host's owner named is said with its limits", () => {
    const program = script("after", "true");
    expect(
      hooksWith({ beforeSwitchover: program, afterFailover: program, attempts: 4 }).status.named,
    ).toEqual([
      { hook: "before-switchover", program, timeoutMs: 5_000, attempts: 1 },
      { hook: "after-failover", program, timeoutMs: 5_000, attempts: 4 },
    ]);
  });
});
