import { Command, Option } from "@commander-js/extra-typings";
import { formatResult } from "./client-command.ts";
import type { CliPorts } from "./ports.ts";

/** `guacamole version` */
export function versionCommand(ports: CliPorts) {
  return new Command("version")
    .description("Prints the version of this binary.")
    .addOption(
      new Option("-o, --output <format>", "how to print it")
        .choices(["table", "json", "yaml"] as const)
        .default("table" as const),
    )
    .action(({ output }) => {
      const value = { version: ports.version };
      ports.terminal.out(formatResult(output, value, ({ version }) => `guacamole ${version}\n`));
    });
}
