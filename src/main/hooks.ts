/**
 * Programs of this host's owner that are run when the member's role changes, before it hands over, and after a change of the
 * primary. They run with the rights of PostgreSQL's system user, within a time limit, beside everything else: nothing of the
 * cluster waits for one, but for the switchover that one is asked about. What became of each is part of the member's status,
 * and an event.
 *
 * In order: a new role is told first, then what had it change; of each one at a time, and tried again where it fails. What was
 * told is kept in files: after a restart of the member what was missed is told. It may so be told twice, never not at all.
 */
import { existsSync, readFileSync } from "node:fs";
import type { HooksPort } from "../agent/ports.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { HookName, HookResult, HooksStatus, NamedHook } from "../cluster/observation.ts";
import type { PrimaryChange } from "../decision/primary-changes.ts";
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
  /** Which changes of the primary were told, a key a line. */
  readonly toldChangesFile: string;
  /** Called with what came of each, attempts included. */
  readonly onResult: (result: HookResult) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** What other callbacks call it. */
const ACTIONS: Readonly<Record<HookName, string>> = {
  "on-role-change": "on_role_change",
  "before-switchover": "before_switchover",
  "after-switchover": "after_switchover",
  "after-failover": "after_failover",
};

/** What ended longer ago is history and no news: a member that joins, or was away, learns of all of it at once. */
const NEWS_MS_MAX = 10 * 60_000;
/** Before the second attempt; twice as long before the third, and so on. */
const RETRY_MS = 1_000;

interface Run {
  readonly hook: HookName;
  readonly program: string;
  readonly role: ServedRole | null;
  /** After the action, the role and the cluster. */
  readonly words: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export class Hooks implements HooksPort {
  readonly #options: HooksOptions;
  #told: ServedRole | null;
  #wanted: ServedRole | null;
  /** Settled once nothing about roles is to be told. */
  #rolesTold: Promise<void> | null = null;
  /** Keys of the changes that were told, or wait to be. */
  readonly #seen: Set<string>;
  readonly #waiting: PrimaryChange[] = [];
  #isTellingChanges = false;
  #last: HookResult | null = null;
  readonly #results = new Map<HookName, HookResult>();

  constructor(options: HooksOptions) {
    this.#options = options;
    this.#told = readRole(options.toldRoleFile);
    this.#wanted = this.#told;
    this.#seen = new Set(readLines(options.toldChangesFile));
  }

  get status(): HooksStatus {
    const named = this.#named();
    return {
      guardsSwitchover: this.#options.config.beforeSwitchover !== null,
      last: this.#last,
      named,
      results: named.flatMap(({ hook }) => this.#results.get(hook) ?? []),
    };
  }

  #named(): readonly NamedHook[] {
    const { beforeSwitchover, onRoleChange, afterSwitchover, afterFailover, ...limits } =
      this.#options.config;
    const { timeoutMs, attempts } = limits;
    const named = (hook: HookName, program: string | null, times: number): readonly NamedHook[] =>
      program === null ? [] : [{ hook, program, timeoutMs, attempts: times }];
    return [
      ...named("before-switchover", beforeSwitchover, 1),
      ...named("on-role-change", onRoleChange, attempts),
      ...named("after-switchover", afterSwitchover, attempts),
      ...named("after-failover", afterFailover, attempts),
    ];
  }

  tellRole(role: ServedRole | null): void {
    if (role === null || role === this.#wanted) return;
    this.#wanted = role;
    this.#rolesTold ??= this.#tellRoles().finally(() => {
      this.#rolesTold = null;
    });
  }

  tellChanges(changes: readonly PrimaryChange[]): void {
    const newsFromMs = this.#options.clock.wallMs() - NEWS_MS_MAX;
    for (const change of changes) {
      if (change.atMs < newsFromMs || this.#seen.has(change.key)) continue;
      this.#seen.add(change.key);
      if (this.#programOf(change) !== null) this.#waiting.push(change);
    }
    if (this.#waiting.length > 0) void this.#tellWaiting();
  }

  /** On the primary, before anything is begun: the error says why it shall not be. */
  async beforeSwitchover(to: string): Promise<Result<null, string>> {
    const { beforeSwitchover: program } = this.#options.config;
    if (program === null) return ok(null);
    const environment = { GUACAMOLE_TO: to };
    return this.#run({ hook: "before-switchover", program, role: "primary", words: [to], environment }, 1);
  }

  /** One at a time; of roles that came and went meanwhile only the last is told. */
  async #tellRoles(): Promise<void> {
    const { config, toldRoleFile } = this.#options;
    const { onRoleChange: program } = config;
    while (program !== null && this.#wanted !== null && this.#wanted !== this.#told) {
      const role = this.#wanted;
      const run: Run = { hook: "on-role-change", program, role, words: [], environment: {} };
      await this.#run(run, config.attempts, () => this.#wanted === role);
      this.#told = role;
      this.#note(toldRoleFile, [role]);
    }
  }

  async #tellWaiting(): Promise<void> {
    if (this.#isTellingChanges) return;
    this.#isTellingChanges = true;
    for (let change = this.#waiting[0]; change !== undefined; change = this.#waiting[0]) {
      const program = this.#programOf(change);
      await this.#rolesTold;
      if (program !== null)
        await this.#run(this.#runOf(change, program), this.#options.config.attempts, () => true);
      this.#waiting.shift();
      const waiting = this.#waiting.map(({ key }) => key);
      const told = [...this.#seen].filter((key) => !waiting.includes(key));
      this.#note(this.#options.toldChangesFile, told.slice(-TOLD_CHANGES_MAX));
    }
    this.#isTellingChanges = false;
  }

  #programOf({ hook }: PrimaryChange): string | null {
    const { afterSwitchover, afterFailover } = this.#options.config;
    return hook === "after-switchover" ? afterSwitchover : afterFailover;
  }

  #runOf(change: PrimaryChange, program: string): Run {
    const { hook, from, to, primary, epoch, result, detail } = change;
    return {
      hook,
      program,
      role: this.#wanted,
      words: [from, to, String(epoch), result],
      environment: {
        GUACAMOLE_FROM: from,
        GUACAMOLE_TO: to,
        GUACAMOLE_PRIMARY: primary,
        GUACAMOLE_EPOCH: String(epoch),
        GUACAMOLE_RESULT: result,
        GUACAMOLE_DETAIL: detail,
      },
    };
  }

  #note(file: string, lines: readonly string[]): void {
    try {
      writeWhole(file, `${lines.join("\n")}\n`, 0o600);
    } catch (error) {
      // It is told again after a restart: better twice than not at all.
      this.#options.log.warn("hook.not-noted", { file, error: String(error) });
    }
  }

  /** Runs it until it succeeds, so many times at most, and as long as it is still wanted. */
  async #run(run: Run, attemptsMax: number, isWanted = () => true): Promise<Result<null, string>> {
    const { clock, onResult } = this.#options;
    for (let attempts = 1; ; attempts += 1) {
      const outcome = await this.#runOnce(run, attempts);
      if (!outcome.ok && attempts < attemptsMax && isWanted()) {
        await clock.sleep(RETRY_MS * 2 ** (attempts - 1));
        if (isWanted()) continue;
      }
      const detail = outcome.ok ? outcome.value : outcome.error;
      this.#last = { hook: run.hook, isOk: outcome.ok, attempts, detail, atMs: clock.wallMs() };
      this.#results.set(run.hook, this.#last);
      onResult(this.#last);
      return outcome.ok ? ok(null) : outcome;
    }
  }

  async #runOnce({ hook, program, role, words, environment }: Run, attempt: number) {
    const { config, user, member, cluster, clock, log } = this.#options;
    const startedAtMs = clock.nowMs();
    const command = asSystemUser(user, [program, ACTIONS[hook], role ?? "none", cluster(), ...words]);
    const told = {
      GUACAMOLE_HOOK: ACTIONS[hook],
      GUACAMOLE_ROLE: role ?? "none",
      GUACAMOLE_CLUSTER: cluster(),
      GUACAMOLE_MEMBER: member,
      ...environment,
    };
    const outcome = command.ok
      ? await runLimited(command.value, told, config.timeoutMs, program)
      : err(`${program} was not run: ${command.error}`);
    const detail = outcome.ok ? outcome.value : outcome.error;
    const durationMs = Math.round(clock.nowMs() - startedAtMs);
    const fields = { hook, role, words: words.join(" "), attempt, detail, durationMs };
    if (outcome.ok) log.info("hook.ran", fields);
    else log.warn("hook.failed", fields);
    return outcome;
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
/** As many as the cluster remembers, and more. */
const TOLD_CHANGES_MAX = 200;

function readRole(file: string): ServedRole | null {
  const [text] = readLines(file);
  return text === "primary" || text === "replica" ? text : null;
}

function readLines(file: string): readonly string[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}
