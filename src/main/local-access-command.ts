/** `guacamole break-glass local`: superuser access on this host, without asking anybody, and never without a trace. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT } from "../cli/exit-code.ts";
import type { LocalAccessOptions } from "../cli/ports.ts";
import type { LocalAccess } from "../cluster/local-access.ts";
import { Probe } from "../postgres/probe.ts";
import { findInstallation, inspectInstallation } from "../postgres/versions.ts";
import { connectSupervisor, type SupervisorClient } from "../supervisor/client.ts";
import { leaveTrace } from "../supervisor/local-trace.ts";
import { ownUser } from "../supervisor/own-user.ts";
import { startSupervisorProcess } from "../supervisor/spawn.ts";
import { statePaths } from "../supervisor/state-directory.ts";
import { type MemberConfig, type PostgresConfig, parseMemberConfig } from "./config.ts";
import { hostFacts } from "./host-facts.ts";
import { systemClock } from "./system-clock.ts";
import { newId } from "./system-random.ts";
import { EXIT_FAILED, EXIT_USAGE, fail, selfCommand } from "./this-process.ts";

const DEFAULT_CONFIG = "/etc/guacamole/guacamole.toml";
const START_DEADLINE_MS = 10_000;
const LOOK_DEADLINE_MS = 2_000;
/** How long a PostgreSQL that was started here may take until it lets somebody in. */
const READY_MS_MAX = 60_000;
const POLL_MS = 100;

/** Runs psql as the superuser, with a line in the trace before and after. @returns psql's exit code, or why it was not run. */
export async function accessLocally(options: LocalAccessOptions): Promise<number> {
  const path = options.configPath ?? DEFAULT_CONFIG;
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const config = parseMemberConfig(text, process.env, hostFacts());
  if (!config.ok) return fail(`the configuration is not valid:\n  ${config.error.join("\n  ")}`, EXIT_USAGE);
  const { postgres } = config.value;
  if (postgres === null) return fail("this host has no PostgreSQL: its member is a witness", EXIT.refused);
  const { uid, username } = ownUser();
  if (uid !== 0 && username !== postgres.user) {
    const command = `sudo -u ${postgres.user} guacamole break-glass local …`;
    return fail(`run it as root or as PostgreSQL's system user: ${command}`, EXIT.refused);
  }
  const installation =
    postgres.binDir === null
      ? findInstallation(process.env["PATH"] ?? "")
      : inspectInstallation(postgres.binDir);
  if (!installation.ok) return fail(installation.error, EXIT_USAGE);
  const { binDirectory } = installation.value;
  const directory = statePaths(postgres.dataDir).localAccessDirectory;
  const opened = traceOf(options, username);
  try {
    leaveTrace(directory, opened);
  } catch (error) {
    return fail(`no trace can be left in ${directory}, so nothing is opened: ${String(error)}`, EXIT_FAILED);
  }
  let exitCode: number = EXIT.refused;
  try {
    const problem = await becomeReady(config.value, postgres, binDirectory, options.mayStart);
    if (problem !== null) return fail(problem, EXIT.refused);
    exitCode = await runPsql(binDirectory, postgres, opened, options.arguments);
    return exitCode;
  } finally {
    const { session } = opened;
    leaveTrace(directory, {
      ...opened,
      id: `${session}-closed`,
      what: "closed",
      atMs: systemClock.wallMs(),
      exitCode,
    });
  }
}

function traceOf({ reason, who }: LocalAccessOptions, username: string): LocalAccess {
  const session = newId();
  const sudoer = process.env["SUDO_USER"];
  const systemUser = sudoer === undefined ? username : `${username} (sudo: ${sudoer})`;
  return {
    id: `${session}-opened`,
    session,
    what: "opened",
    who: who ?? sudoer ?? username,
    systemUser,
    reason,
    atMs: systemClock.wallMs(),
    exitCode: null,
  };
}

/** Null once PostgreSQL lets the superuser in; else why it does not, and what to do. */
async function becomeReady(
  config: MemberConfig,
  postgres: PostgresConfig,
  binDirectory: string,
  mayStart: boolean,
): Promise<string | null> {
  const probe = new Probe({
    socketDirectory: postgres.socketDir,
    port: postgres.listen.port,
    user: "postgres",
    database: "postgres",
    clock: systemClock,
  });
  try {
    const first = await probe.look(LOOK_DEADLINE_MS);
    if (first.kind === "primary" || first.kind === "standby") return null;
    if (!mayStart)
      return `PostgreSQL does not let anybody in (${first.detail}); with --start it is started as a standby, which can be read`;
    await start(config, postgres, binDirectory);
    const untilMs = systemClock.nowMs() + READY_MS_MAX;
    let last = first.detail;
    while (systemClock.nowMs() < untilMs) {
      const look = await probe.look(LOOK_DEADLINE_MS);
      if (look.kind === "primary" || look.kind === "standby") return null;
      last = look.detail;
      await systemClock.sleep(POLL_MS);
    }
    return `PostgreSQL was started and does not let anybody in (${last}): see its log beside the data directory`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await probe.close();
  }
}

/**
 * Through the supervisor, the only one that starts PostgreSQL; always as a standby: another host may reign, and nobody here can
 * know.
 */
async function start(config: MemberConfig, postgres: PostgresConfig, binDirectory: string): Promise<void> {
  const client = await supervisorOf(config, postgres, binDirectory);
  try {
    const looked = await client.request({ kind: "look" }, START_DEADLINE_MS);
    if (!looked.ok) throw new Error(looked.message);
    const { newestEpoch } = looked.look.promises;
    const started = await client.request({ kind: "start", epoch: newestEpoch }, START_DEADLINE_MS);
    if (!started.ok) throw new Error(`PostgreSQL cannot be started: ${started.message}`);
  } finally {
    client.close();
  }
}

async function supervisorOf(
  config: MemberConfig,
  postgres: PostgresConfig,
  binDirectory: string,
): Promise<SupervisorClient> {
  const socketPath = config.supervisorSocket;
  const found = await connectSupervisor({ socketPath, clock: systemClock });
  if (found.ok) return found.value;
  await startSupervisorProcess({
    command: [...selfCommand(), "supervise"],
    dataDirectory: postgres.dataDir,
    binDirectory,
    socketPath,
    user: postgres.user,
    environment: process.env,
    clock: systemClock,
    deadlineMs: START_DEADLINE_MS,
  });
  const started = await connectSupervisor({ socketPath, clock: systemClock });
  if (!started.ok) throw new Error(started.error);
  return started.value;
}

/** Its statements are logged, under the name of whoever it is. */
async function runPsql(
  binDirectory: string,
  postgres: PostgresConfig,
  { who }: LocalAccess,
  parameters: readonly string[],
): Promise<number> {
  const child = Bun.spawn([join(binDirectory, "psql"), ...parameters], {
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
    env: {
      ...process.env,
      PGHOST: postgres.socketDir,
      PGPORT: String(postgres.listen.port),
      PGUSER: "postgres",
      PGDATABASE: process.env["PGDATABASE"] ?? "postgres",
      PGAPPNAME: `break-glass ${who}`.slice(0, 63),
      PGOPTIONS: "-c log_statement=all",
    },
  });
  // Ctrl-C and a terminal that goes are for psql; this process must live to leave the second line.
  process.on("SIGHUP", () => undefined);
  return child.exited;
}
