import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { applyCommand } from "./apply-command.ts";
import { auditCommand } from "./audit-command.ts";
import { breakGlassCommand } from "./break-glass-commands.ts";
import { certificatesCommand } from "./certificates-commands.ts";
import { clientCertificateCommand } from "./client-certificate-commands.ts";
import { initCommand, statusCommand } from "./cluster-commands.ts";
import { type CompletionCommand, renderCompletion } from "./completion.ts";
import { configCommand } from "./config-commands.ts";
import { databaseCommand } from "./database-commands.ts";
import { explainCommand, failoverCommand, historyCommand } from "./failover-commands.ts";
import { hbaCommand } from "./hba-commands.ts";
import { identityProviderCommand } from "./identity-commands.ts";
import { memberCommand } from "./member-commands.ts";
import { eventsCommand, operationCommand } from "./operation-commands.ts";
import { pauseCommand, resumeCommand, topologyCommand } from "./policy-commands.ts";
import type { CliPorts } from "./ports.ts";
import { demoCommand, runCommand, superviseCommand } from "./process-commands.ts";
import { recoverCommand } from "./recover-commands.ts";
import { restartCommand } from "./restart-commands.ts";
import { roleCommand } from "./role-commands.ts";
import { runCommandLine, settle } from "./run-command-line.ts";
import { formCommand, joinCommand } from "./setup-commands.ts";
import { specCommand } from "./spec-commands.ts";
import { backupStateCommand, consensusCommand } from "./state-commands.ts";
import { hooksCommand, switchoverCommand } from "./switchover-commands.ts";
import { tokenCommand } from "./token-commands.ts";
import { versionCommand } from "./version-command.ts";

const FIRST_MINUTES = `
The first five minutes, on three hosts:
  guacamole run --config guacamole.toml    on each: the control plane comes up, PostgreSQL is not touched
  guacamole form --name orders             on the first; prints the admin token
  guacamole member add                     on the first; prints the command that lets another host in
  guacamole join 10.0.0.1:8008 --token …   on the second, and with a token of its own on the third
  guacamole init                           on any: initdb on one, clones on the others
  guacamole status --watch                 who is primary, who follows, how far behind, and why

Just curious? 'guacamole demo' shows it all on this machine and leaves nothing behind.

On a member's own host its Unix socket serves its owner without a token. From elsewhere:
  export GUACAMOLE_ENDPOINT=10.0.0.1:8008,10.0.0.2:8008 GUACAMOLE_TOKEN=gcm_… GUACAMOLE_CA=ca.crt

Exit codes:
  0  done
  2  the command line or the configuration is wrong
  3  refused: it was understood, and nothing was changed
  4  unreachable: nobody answers, or no leader is there; nothing was changed
  5  failed: it began, and did not succeed
  6  unknown: it may have happened, or may still; look before you repeat it
  7  differs: a dry run of 'guacamole apply' found something that it would change
`;

/**
 * The command line. `finish` is told the exit code of the commands that run a process.
 *
 * Parsing throws (`CommanderError`, `CliError`) and never ends the process: `runProgram` turns that into an exit code.
 */
export function createProgram(ports: CliPorts, finish: (exitCode: number) => void): CommandUnknownOpts {
  const program = new Command("guacamole")
    .description("Highly available PostgreSQL: members that agree, fail over and rejoin by themselves.")
    .version(ports.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show this, or the help of a command")
    .addHelpText("after", FIRST_MINUTES)
    .showSuggestionAfterError()
    .addCommand(runCommand(ports, finish))
    .addCommand(formCommand(ports))
    .addCommand(joinCommand(ports))
    .addCommand(initCommand(ports))
    .addCommand(statusCommand(ports))
    .addCommand(switchoverCommand(ports))
    .addCommand(restartCommand(ports))
    .addCommand(failoverCommand(ports))
    .addCommand(hooksCommand(ports))
    .addCommand(explainCommand(ports))
    .addCommand(historyCommand(ports))
    .addCommand(topologyCommand(ports))
    .addCommand(configCommand(ports))
    .addCommand(specCommand(ports))
    .addCommand(applyCommand(ports, finish))
    .addCommand(hbaCommand(ports))
    .addCommand(breakGlassCommand(ports, finish))
    .addCommand(roleCommand(ports))
    .addCommand(databaseCommand(ports))
    .addCommand(pauseCommand(ports))
    .addCommand(resumeCommand(ports))
    .addCommand(memberCommand(ports))
    .addCommand(tokenCommand(ports))
    .addCommand(identityProviderCommand(ports))
    .addCommand(clientCertificateCommand(ports))
    .addCommand(certificatesCommand(ports))
    .addCommand(consensusCommand(ports))
    .addCommand(backupStateCommand(ports))
    .addCommand(recoverCommand(ports))
    .addCommand(operationCommand(ports))
    .addCommand(eventsCommand(ports))
    .addCommand(auditCommand(ports))
    .addCommand(demoCommand(ports, finish))
    .addCommand(superviseCommand(ports, finish))
    .addCommand(versionCommand(ports));
  program.addCommand(
    new Command("completion")
      .description("Prints a completion script for a shell.")
      .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"] as const))
      .addHelpText("after", '\nExample:\n  eval "$(guacamole completion bash)"')
      .action((shell) => ports.terminal.out(renderCompletion(shell, completionsOf(program, "")))),
  );
  return settle(program, ports);
}

/** Runs one command line (without the program's own name) and returns the exit code. */
export function runProgram(ports: CliPorts, argv: readonly string[]): Promise<number> {
  return runCommandLine(ports, argv, (finish) => createProgram(ports, finish));
}

function completionsOf(command: CommandUnknownOpts, path: string): CompletionCommand[] {
  const names = command.commands.map((each) => each.name());
  const options = [...command.options.flatMap(({ long }) => long ?? []), "--help"];
  const children = command.commands.flatMap((each) =>
    completionsOf(each, path === "" ? each.name() : `${path} ${each.name()}`),
  );
  return [{ path, words: [...names, ...options] }, ...children];
}
