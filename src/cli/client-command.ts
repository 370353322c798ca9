import { Command, Option } from "@commander-js/extra-typings";
import { stringify } from "yaml";
import { ApiClient } from "./client.ts";
import { type ConnectionOptions, resolveConnection } from "./connection.ts";
import type { CliPorts } from "./ports.ts";

export type OutputFormat = "table" | "json" | "yaml";

const collect = (value: string, previous: string[] | undefined): string[] => [...(previous ?? []), value];

/** A command that talks to a member: all of them take these options. */
export function clientCommand(name: string) {
  return new Command(name)
    .addOption(
      new Option("-o, --output <format>", "how to print the result")
        .choices(["table", "json", "yaml"] as const)
        .default("table" as const),
    )
    .option(
      "--endpoint <host:port>",
      "ask this member over HTTPS; several are tried in turn (GUACAMOLE_ENDPOINT)",
      collect,
    )
    .option("--token <token>", "who asks (GUACAMOLE_TOKEN); not needed on a socket of this host")
    .option("--ca <file>", "the cluster CA's certificate, to trust an endpoint (GUACAMOLE_CA)")
    .option("--client-cert <file>", "show this certificate instead of a token (GUACAMOLE_CLIENT_CERTIFICATE)")
    .option("--client-key <file>", "its key (GUACAMOLE_CLIENT_KEY)")
    .option("--socket <path>", "ask the member on this host over its Unix socket (GUACAMOLE_SOCKET)")
    .option("--config <file>", "find the socket through this member's configuration file");
}

/** @throws {CliError} where the options name nothing that can be asked. */
export async function openClient(ports: CliPorts, options: ConnectionOptions): Promise<ApiClient> {
  return new ApiClient(await resolveConnection(ports, options));
}

/** Prints a result: for programs as it came, for people as `render` shows it. */
export function printResult<T>(
  ports: CliPorts,
  format: OutputFormat,
  value: T,
  render: (value: T) => string,
): void {
  ports.terminal.out(formatResult(format, value, render));
}

/** The text of a result in the wanted format, ending in a line break. */
export function formatResult<T>(format: OutputFormat, value: T, render: (value: T) => string): string {
  if (format === "json") return `${JSON.stringify(value, null, 2)}\n`;
  if (format === "yaml") return stringify(value);
  return render(value);
}
