/** `guacamole run`: one member, until it is told to end. */
// First of all: the certificates' library needs it before anything of it is loaded.
import "reflect-metadata";
import { existsSync, readFileSync } from "node:fs";
import type { RunOptions } from "../cli/ports.ts";
import { StoreError } from "../store/store-error.ts";
import { parseMemberConfig } from "./config.ts";
import { ConsensusStartError } from "./consensus-client.ts";
import { hostFacts } from "./host-facts.ts";
import { jsonLog } from "./json-log.ts";
import { CannotStart, MemberProcess } from "./member-process.ts";
import { ServiceManager } from "./service-manager.ts";
import { systemClock } from "./system-clock.ts";
import {
  EXIT_FAILED,
  EXIT_OK,
  EXIT_USAGE,
  fail,
  interrupted,
  logLevel,
  selfCommand,
} from "./this-process.ts";
import { VERSION } from "./version.ts";

const DEFAULT_CONFIG = "/etc/guacamole/guacamole.toml";

/** @returns the exit code. */
export async function run({ configPath }: RunOptions): Promise<number> {
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
  const { env: environment, pid: processId } = process;
  const serviceManager = new ServiceManager({ environment, processId, clock: systemClock, log });
  const member = new MemberProcess({
    config: config.value,
    selfCommand: selfCommand(),
    environment,
    version: VERSION,
    clock: systemClock,
    log,
    onFatal: (exitCode, message) => {
      log.error("member.fatal", { exitCode, message });
      process.exit(exitCode);
    },
    onUp: () => serviceManager.ready(() => member.stalledReason() === null),
  });
  try {
    await member.start();
  } catch (error) {
    const isExpected = [CannotStart, StoreError, ConsensusStartError].some((kind) => error instanceof kind);
    if (!isExpected) throw error;
    await member.stop();
    const exitCode = error instanceof CannotStart ? error.exitCode : null;
    return fail(error instanceof Error ? error.message : String(error), exitCode ?? EXIT_FAILED);
  }
  await interrupted();
  log.info("member.stopping", {});
  serviceManager.stopping();
  await member.stop();
  return EXIT_OK;
}

function readConfigFile(configPath: string | null): string {
  if (configPath !== null) return readFileSync(configPath, "utf8");
  return existsSync(DEFAULT_CONFIG) ? readFileSync(DEFAULT_CONFIG, "utf8") : "";
}
