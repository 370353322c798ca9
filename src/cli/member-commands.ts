import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type { JoinTokenDocument, MemberDocument, OperationDocument } from "../api/documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { finish } from "./cluster-commands.ts";
import type { CliPorts } from "./ports.ts";
import { renderMembers } from "./render-status.ts";

/** `guacamole member …` */
export function memberCommand(ports: CliPorts) {
  return new Command("member")
    .summary("list, add and rebuild members")
    .description("Lists members, admits new ones, builds one anew.")
    .addCommand(listCommand(ports))
    .addCommand(addCommand(ports))
    .addCommand(reinitCommand(ports));
}

function listCommand(ports: CliPorts) {
  return clientCommand("list")
    .description("Lists the members.")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<MemberDocument[]>("/v1/members"), renderMembers);
    });
}

function addCommand(ports: CliPorts) {
  return clientCommand("add")
    .description(
      "Makes a join token, which admits one new member once. Prints the command to run on the new member's host.",
    )
    .option("--ttl <duration>", "how long it may be used: 30m, 2h, 7d", parseSeconds, 3600)
    .addHelpText("after", "\nExample:\n  guacamole member add --ttl 10m")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const made = await client.post<JoinTokenDocument>("/v1/members", { ttlSeconds: options.ttl });
      printResult(ports, options.output, made, () =>
        [
          "On the new member's host, where 'guacamole run' is up:",
          "",
          `  ${made.command}`,
          "",
          `It is good for one member, until ${made.expiresAt}.`,
          "",
        ].join("\n"),
      );
    });
}

function reinitCommand(ports: CliPorts) {
  return clientCommand("reinit")
    .description("Builds a standby anew from the primary. What its data directory holds is replaced.")
    .argument("<name>", "the member")
    .option("--wait", "follow it to its end", true)
    .option("--no-wait", "return once it has begun")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const path = `/v1/members/${encodeURIComponent(name)}/reinitialize`;
      const begun = await client.post<OperationDocument>(path, {}, { idempotencyKey: ports.newId() });
      await finish(ports, client, begun, options);
    });
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

function parseSeconds(text: string): number {
  const match = /^([0-9]{1,6})([smhd])$/.exec(text);
  const unit = SECONDS[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new InvalidArgumentError("A duration looks like 30m, 2h or 7d.");
  return Number(match[1]) * unit;
}
