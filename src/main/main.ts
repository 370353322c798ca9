/**
 * The one binary: reads what it was asked to do, and wires the real world to it.
 *
 * What a command needs is loaded when it is given, so that a supervisor, which lives as long as its PostgreSQL, does not
 * carry what only a member needs.
 */
import { readFileSync } from "node:fs";
import type { CliPorts } from "../cli/ports.ts";
import { runProcessProgram, runsProcess } from "../cli/process-program.ts";
import { systemClock } from "./system-clock.ts";
import { newId } from "./system-random.ts";
import { selfCommand, shutdownSignal, terminal } from "./this-process.ts";
import { COMMIT, VERSION } from "./version.ts";

const ports: CliPorts = {
  version: `${VERSION} (${COMMIT})`,
  env: process.env,
  terminal,
  clock: systemClock,
  interrupted: shutdownSignal,
  newId,
  socketPathOf: async (configPath) => {
    const { apiSocketPath, readDataDir } = await import("./config.ts");
    const directory = readDataDir(readFileSync(configPath, "utf8"), process.env);
    return directory.ok ? { ok: true, value: apiSocketPath(directory.value) } : directory;
  },
  readLine: async (question) => (await import("./read-line.ts")).readLine(question),
  edit: async (text) => (await import("./edit-text.ts")).editText(text, process.env),
  certificateRequest: async (commonName, presentKey) =>
    (await import("./certificate-request.ts")).certificateRequest(commonName, presentKey),
  recover: {
    inspect: async (dataDir) => (await import("./recover-command.ts")).inspect(dataDir),
    plan: async (request) => (await import("./recover-command.ts")).plan(request),
    forceNewGroup: async (request) => (await import("./recover-command.ts")).forceNewGroup(request),
    restore: async (request) => (await import("./recover-command.ts")).restore(request),
  },
  accessLocally: async (options) => (await import("./local-access-command.ts")).accessLocally(options),
  run: async (options) => (await import("./run-command.ts")).run(options),
  supervise: async (options) => (await import("./supervise-command.ts")).supervise(options),
  demo: async (options) => {
    const { runDemo } = await import("../demo/run-demo.ts");
    return runDemo(options, {
      selfCommand: selfCommand(),
      environment: process.env,
      clock: systemClock,
      terminal,
      interrupted: shutdownSignal,
    });
  },
};

async function main(argv: readonly string[]): Promise<number> {
  if (runsProcess(argv)) return runProcessProgram(ports, argv);
  const { runProgram } = await import("../cli/program.ts");
  return runProgram(ports, argv);
}

process.exit(await main(process.argv.slice(2)));
