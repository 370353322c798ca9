/** The one binary: reads what it was asked to do, and wires the real world to it. */
// First of all: the certificates' library needs it before anything of it is loaded.
import "reflect-metadata";
import { existsSync, readFileSync } from "node:fs";
import type { CliPorts, DemoOptions, RunOptions, SuperviseOptions } from "../cli/ports.ts";
import { runProgram } from "../cli/program.ts";
import { processTerminal } from "../cli/terminal.ts";
import { runDemo } from "../demo/run-demo.ts";
import { findInstallation, inspectInstallation } from "../postgres/versions.ts";
import { StoreError } from "../store/store-error.ts";
import { runSupervisor } from "../supervisor/supervise.ts";
import { apiSocketPath, parseMemberConfig, readDataDir } from "./config.ts";
import { ConsensusStartError } from "./consensus-client.ts";
import { hostFacts } from "./host-facts.ts";
import { jsonLog, type LogLevel } from "./json-log.ts";
import { CannotStart, MemberProcess } from "./member-process.ts";
import { systemClock } from "./system-clock.ts";
import { newId } from "./system-random.ts";
import { COMMIT, VERSION } from "./version.ts";

const EXIT_OK = 0;
const EXIT_USAGE = 2;
const EXIT_FAILED = 5;
const DEFAULT_CONFIG = "/etc/guacamole/guacamole.toml";

const terminal = processTerminal();
const shutdown = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => shutdown.abort());

/** How this program starts itself again: a compiled binary is its own; from the sources it is bun with this file. */
function selfCommand(): readonly string[] {
  return Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, import.meta.path];
}

function logLevel(): LogLevel {
  const wanted = process.env["GUACAMOLE_LOG_LEVEL"];
  return wanted === "debug" || wanted === "warn" || wanted === "error" ? wanted : "info";
}

function fail(message: string, exitCode: number): number {
  terminal.err(`guacamole: ${message}\n`);
  return exitCode;
}

function readConfigFile(configPath: string | null): string {
  if (configPath !== null) return readFileSync(configPath, "utf8");
  return existsSync(DEFAULT_CONFIG) ? readFileSync(DEFAULT_CONFIG, "utf8") : "";
}

async function run({ configPath }: RunOptions): Promise<number> {
  let text: string;
  try {
    text = readConfigFile(configPath);
  } catch (error) {
    return fail(
      `${configPath} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      EXIT_USAGE,
    );
  }
  const config = parseMemberConfig(text, process.env, hostFacts());
  if (!config.ok) return fail(`the configuration is not valid:\n  ${config.error.join("\n  ")}`, EXIT_USAGE);
  const log = jsonLog(logLevel(), { member: config.value.name });
  for (const warning of config.value.warnings) log.warn("config.warning", { warning });
  const member = new MemberProcess({
    config: config.value,
    selfCommand: selfCommand(),
    environment: process.env,
    version: VERSION,
    clock: systemClock,
    log,
    onFatal: (exitCode, message) => {
      log.error("member.fatal", { exitCode, message });
      process.exit(exitCode);
    },
  });
  try {
    await member.start();
  } catch (error) {
    const isExpected = [CannotStart, StoreError, ConsensusStartError].some((kind) => error instanceof kind);
    if (!isExpected) throw error;
    await member.stop();
    return fail(error instanceof Error ? error.message : String(error), EXIT_FAILED);
  }
  await interrupted();
  log.info("member.stopping", {});
  await member.stop();
  return EXIT_OK;
}

async function supervise({ socketPath, dataDir, binDir, isContainer }: SuperviseOptions): Promise<number> {
  const installation =
    binDir === null ? findInstallation(process.env["PATH"] ?? "") : inspectInstallation(binDir);
  if (!installation.ok) return fail(installation.error, EXIT_USAGE);
  try {
    await runSupervisor({
      dataDirectory: dataDir,
      binDirectory: installation.value.binDirectory,
      socketPath,
      clock: systemClock,
      log: jsonLog(logLevel(), { supervisor: dataDir }),
      shutdown: shutdown.signal,
      isContainer: isContainer || process.pid === 1,
    });
    return EXIT_OK;
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error), EXIT_FAILED);
  }
}

function demo(options: DemoOptions): Promise<number> {
  return runDemo(options, {
    selfCommand: selfCommand(),
    environment: process.env,
    clock: systemClock,
    terminal,
    interrupted: shutdown.signal,
  });
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    if (shutdown.signal.aborted) resolve();
    else shutdown.signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

const ports: CliPorts = {
  version: `${VERSION} (${COMMIT})`,
  env: process.env,
  terminal,
  clock: systemClock,
  interrupted: shutdown.signal,
  newId,
  socketPathOf: async (configPath) => {
    const directory = readDataDir(readFileSync(configPath, "utf8"), process.env);
    return directory.ok ? { ok: true, value: apiSocketPath(directory.value) } : directory;
  },
  run,
  supervise,
  demo,
};

process.exit(await runProgram(ports, process.argv.slice(2)));
