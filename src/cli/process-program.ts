/**
 * The part of the command line that runs a process for as long as its host: it loads none of what talks to members or
 * draws tables, since it would stay in memory.
 */
import { Command } from "@commander-js/extra-typings";
import type { CliPorts } from "./ports.ts";
import { runCommand, superviseCommand } from "./process-commands.ts";
import { runCommandLine, settle } from "./run-command-line.ts";

/** Whether this command line is one for `runProcessProgram`. */
export function runsProcess([command]: readonly string[]): boolean {
  return command === "run" || command === "supervise";
}

/** As `runProgram`, for `run` and `supervise` alone. */
export function runProcessProgram(ports: CliPorts, argv: readonly string[]): Promise<number> {
  return runCommandLine(ports, argv, (finish) =>
    settle(
      new Command("guacamole")
        .addCommand(runCommand(ports, finish))
        .addCommand(superviseCommand(ports, finish)),
      ports,
    ),
  );
}
