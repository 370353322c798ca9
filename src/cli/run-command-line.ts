/** From a command line to an exit code: what is wrong is said on standard error, for people or as JSON. */
import { CommanderError, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";

/**
 * Runs one command line (without the program's own name) and returns the exit code.
 *
 * @param create makes the program; what it is given is told the exit code of the commands that run a process.
 */
export async function runCommandLine(
  ports: CliPorts,
  argv: readonly string[],
  create: (finish: (exitCode: number) => void) => CommandUnknownOpts,
): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = create((code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (!(error instanceof CliError)) throw error;
    explain(ports, error, isJsonWanted(argv));
    return error.exitCode;
  }
}

function explain({ terminal }: CliPorts, error: CliError, isJson: boolean): void {
  if (isJson) {
    const problem = error.problem ?? {
      detail: error.message,
      ...(error.hint === null ? {} : { hint: error.hint }),
    };
    terminal.err(`${JSON.stringify(problem)}\n`);
    return;
  }
  terminal.err(`guacamole: ${error.message}\n`);
  if (error.hint !== null) terminal.err(`  ${error.hint}\n`);
}

function isJsonWanted(argv: readonly string[]): boolean {
  return argv.some(
    (each, at) =>
      each === "--output=json" || (each === "json" && ["--output", "-o"].includes(argv[at - 1] ?? "")),
  );
}

/** Commands that were added do not inherit how the program exits and where it writes. */
export function settle(command: CommandUnknownOpts, ports: CliPorts): CommandUnknownOpts {
  command.exitOverride().configureOutput({
    writeOut: (text) => ports.terminal.out(text),
    writeErr: (text) => ports.terminal.err(text),
    outputError: (text, write) => write(text.replace(/^error: /, "guacamole: ")),
  });
  for (const each of command.commands) settle(each, ports);
  return command;
}
