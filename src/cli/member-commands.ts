import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type { ForkDocument, JoinTokenDocument, MemberDocument, OperationDocument } from "../api/documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { finish } from "./cluster-commands.ts";
import { changeCommand, demoteCommand, promoteCommand } from "./member-change-commands.ts";
import type { CliPorts } from "./ports.ts";
import { renderForks, renderMemberList } from "./render-members.ts";
import { memberReloadCommand, memberRestartCommand } from "./restart-commands.ts";

/** `guacamole member …` */
export function memberCommand(ports: CliPorts) {
  return new Command("member")
    .summary("list, add, remove, replace, restart and rebuild members")
    .description("Lists members, admits new ones, removes or replaces one, changes what one is wanted for.")
    .addCommand(listCommand(ports))
    .addCommand(addCommand(ports))
    .addCommand(removeCommand(ports))
    .addCommand(replaceCommand(ports))
    .addCommand(promoteCommand(ports))
    .addCommand(demoteCommand(ports))
    .addCommand(changeCommand(ports))
    .addCommand(memberRestartCommand(ports))
    .addCommand(memberReloadCommand(ports))
    .addCommand(reinitCommand(ports))
    .addCommand(forksCommand(ports));
}

function forksCommand(ports: CliPorts) {
  return clientCommand("forks")
    .summary("transactions in doubt: committed on a fallen primary, and followed by nobody")
    .description(
      "Lists what a member had written after a successor had turned off. It is kept (the last three times) before the data\ndirectory is rewound. None of it was acknowledged, unless a loss was taken ('guacamole history').",
    )
    .argument("<name>", "the member")
    .addHelpText("after", "\nExample:\n  guacamole member forks m1 --output json")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const path = `/v1/members/${encodeURIComponent(name)}/forks`;
      printResult(ports, options.output, await client.get<ForkDocument[]>(path), renderForks);
    });
}

function listCommand(ports: CliPorts) {
  return clientCommand("list")
    .description(
      "Lists the members and their place in the group that agrees: voter, learner, or leaving.\nHow far each has caught up only the leader knows; ask it to see that.",
    )
    .option("--linearizable", "wait until everything that was agreed before is known to the asked member")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const path = options.linearizable === true ? "/v1/members?consistency=linearizable" : "/v1/members";
      printResult(ports, options.output, await client.get<MemberDocument[]>(path), renderMemberList);
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

function removeCommand(ports: CliPorts) {
  return clientCommand("remove")
    .description(
      "Removes a member, dead or alive: it leaves the synchronous standbys first, then the group that agrees.\nIts PostgreSQL is stopped; its data is left as it is. The primary cannot be removed: switch over first.",
    )
    .argument("<name>", "the member")
    .option("--wait", "follow it to its end", true)
    .option("--no-wait", "return once it has begun")
    .addHelpText(
      "after",
      "\nExample:\n  guacamole switchover --to m2 && guacamole member remove m1\n\nTo come back, the member needs an empty data-dir and a new join token.",
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const begun = await client.delete<OperationDocument>(`/v1/members/${encodeURIComponent(name)}`, {
        idempotencyKey: ports.newId(),
      });
      await finish(ports, client, begun, options);
    });
}

function replaceCommand(ports: CliPorts) {
  return clientCommand("replace")
    .description(
      "Makes a join token for a member that was lost: the host that uses it takes the name, under a new id, and at that\nmoment the removal of the old member begins. For a wiped disk and for a new machine.",
    )
    .argument("<name>", "the member that is to be replaced")
    .option("--ttl <duration>", "how long it may be used: 30m, 2h, 7d", parseSeconds, 3600)
    .addHelpText("after", "\nExample:\n  guacamole member replace m2 --ttl 30m")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const body = { replaces: name, ttlSeconds: options.ttl };
      const made = await client.post<JoinTokenDocument>("/v1/members", body);
      printResult(ports, options.output, made, () =>
        [
          `On the host that shall be ${name}, with an empty data-dir and name = "${name}" in guacamole.toml,`,
          "where 'guacamole run' is up:",
          "",
          `  ${made.command}`,
          "",
          `It is good once, until ${made.expiresAt}. Nothing changes before it is used.`,
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
