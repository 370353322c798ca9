/**
 * Programs of this host's owner that are run when the member's role changes, and before it hands over. They run with the
 * rights of PostgreSQL's system user, within a time limit; what became of the last one is part of the member's status.
 *
 * The role that was told last is kept in a file: after a restart of the member a change that was missed is told. It may so be
 * told twice, never not at all.
 */
import { existsSync, readFileSync } from "node:fs";
import type { HooksPort } from "../agent/ports.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { HooksStatus } from "../cluster/observation.ts";
import type { ServedRole } from "../decision/served-role.ts";
import { writeWhole } from "../postgres/durable-file.ts";
import { runProgram } from "../postgres/program.ts";
import { asSystemUser } from "../supervisor/spawn.ts";
import type { HooksConfig } from "./config.ts";

export interface HooksOptions {
  readonly config: HooksConfig;
  readonly user: string;
  readonly member: string;
  readonly cluster: () => string;
  /** Which role was told last. */
  readonly toldRoleFile: string;
  readonly clock: Clock;
  readonly log: Log;
}

type Hook = NonNullable<HooksStatus["last"]>["hook"];

/** What other callbacks call it. */
const ACTIONS: Readonly<Record<Hook, string>> = {
  "on-role-change": "on_role_change",
  "before-switchover": "before_switchover",
};

export class Hooks implements HooksPort {
  readonly #options: HooksOptions;
  #told: ServedRole | null;
  #wanted: ServedRole | null;
  #isTelling = false;
  #last: HooksStatus["last"] = null;

  constructor(options: HooksOptions) {
    this.#options = options;
    this.#told = readRole(options.toldRoleFile);
    this.#wanted = this.#told;
  }

  get status(): HooksStatus {
    return { guardsSwitchover: this.#options.config.beforeSwitchover !== null, last: this.#last };
  }

  tellRole(role: ServedRole | null): void {
    if (role === null || role === this.#wanted) return;
    this.#wanted = role;
    void this.#tell();
  }

  /** On the primary, before anything is begun: the error says why it shall not be. */
  async beforeSwitchover(to: string): Promise<Result<null, string>> {
    const { beforeSwitchover } = this.#options.config;
    if (beforeSwitchover === null) return ok(null);
    return this.#run("before-switchover", beforeSwitchover, "primary", to);
  }

  /** One at a time; of roles that came and went meanwhile only the last is told. */
  async #tell(): Promise<void> {
    const { config, toldRoleFile, log } = this.#options;
    if (this.#isTelling || config.onRoleChange === null) return;
    this.#isTelling = true;
    while (this.#wanted !== null && this.#wanted !== this.#told) {
      const role = this.#wanted;
      await this.#run("on-role-change", config.onRoleChange, role, null);
      this.#told = role;
      try {
        writeWhole(toldRoleFile, `${role}\n`, 0o600);
      } catch (error) {
        // It is told again after a restart: better twice than not at all.
        log.warn("hook.not-noted", { role, error: String(error) });
      }
    }
    this.#isTelling = false;
  }

  async #run(
    hook: Hook,
    program: string,
    role: ServedRole,
    to: string | null,
  ): Promise<Result<null, string>> {
    const { config, user, member, cluster, clock, log } = this.#options;
    const startedAtMs = clock.nowMs();
    const run = [program, ACTIONS[hook], role, cluster(), ...(to === null ? [] : [to])];
    const command = asSystemUser(user, run);
    const environment = {
      GUACAMOLE_HOOK: ACTIONS[hook],
      GUACAMOLE_ROLE: role,
      GUACAMOLE_CLUSTER: cluster(),
      GUACAMOLE_MEMBER: member,
      ...(to === null ? {} : { GUACAMOLE_TO: to }),
    };
    const outcome = command.ok
      ? await runLimited(command.value, environment, config.timeoutMs, program)
      : err(`${program} was not run: ${command.error}`);
    const detail = outcome.ok ? outcome.value : outcome.error;
    this.#last = { hook, isOk: outcome.ok, detail, atMs: clock.wallMs() };
    const fields = { hook, role, to, detail, durationMs: Math.round(clock.nowMs() - startedAtMs) };
    if (outcome.ok) log.info("hook.ran", fields);
    else log.warn("hook.failed", fields);
    return outcome.ok ? ok(null) : outcome;
  }
}

/** What it said at last, or why it failed. */
async function runLimited(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
  timeoutMs: number,
  program: string,
): Promise<Result<string, string>> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeoutMs);
  const ran = await runProgram({ command, environment, signal: limit.signal });
  clearTimeout(timer);
  if (ran.ok) return ok(ran.value.stdout.trim().slice(-TOLD_CHARACTERS));
  if (ran.error.wasCancelled) return err(`${program} took longer than ${timeoutMs / 1_000} s and was ended`);
  return err(ran.error.message.slice(0, TOLD_CHARACTERS));
}

const TOLD_CHARACTERS = 300;

function readRole(file: string): ServedRole | null {
  if (!existsSync(file)) return null;
  const text = readFileSync(file, "utf8").trim();
  return text === "primary" || text === "replica" ? text : null;
}
