import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../../../src/base/log.ts";
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

const NONE: HooksConfig = { onRoleChange: null, beforeSwitchover: null, timeoutMs: 5_000 };

function hooksWith(over: Partial<HooksConfig>): Hooks {
  return new Hooks({
    config: { ...NONE, ...over },
    user: "postgres",
    member: "m1",
    cluster: () => "orders",
    toldRoleFile: join(directory, "told-role"),
    clock: realClock,
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
