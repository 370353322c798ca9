import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { ConsensusDocument, MemberDocument } from "../api/documents.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import { pause } from "./follow-operation.ts";
import type { CliPorts } from "./ports.ts";
import { renderMemberList } from "./render-members.ts";

const POLL_MS = 250;
/** A change of the group takes a moment where all are well; what takes longer has a reason, which is worth telling. */
const VOTE_MS_MAX = 30_000;

/** `guacamole member promote-voter` */
export function promoteCommand(ports: CliPorts) {
  return voterCommand(ports, "promote-voter", "voter")
    .description(
      "Says that a member shall vote. It takes another one's place where as many vote as may; it votes once it has caught up.\n'guacamole member set NAME --voting auto' takes the wish back.",
    )
    .addHelpText("after", "\nExample:\n  guacamole member promote-voter m4");
}

/** `guacamole member demote-voter` */
export function demoteCommand(ports: CliPorts) {
  return voterCommand(ports, "demote-voter", "learner")
    .description(
      "Says that a member shall learn and not vote: a slow host, or one far away.\nAn odd number of members vote, so another one may stop voting with it.",
    )
    .addHelpText("after", "\nExample:\n  guacamole member demote-voter m4");
}

function voterCommand(ports: CliPorts, command: string, wish: "voter" | "learner") {
  return clientCommand(command)
    .argument("<name>", "the member")
    .option("--wait", "wait until it is so", true)
    .option("--no-wait", "return once it is agreed")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const path = `/v1/members/${encodeURIComponent(name)}`;
      const key = { idempotencyKey: ports.newId() };
      const asked = await client.post<MemberDocument>(`${path}/voter`, { voting: wish }, key);
      const member = options.wait ? await awaitVote(ports, client, path, wish) : asked;
      printResult(ports, options.output, member, (shown) => renderMemberList([shown]));
    });
}

/** @throws {CliError} `unknown` if it is not so in time, with the leader's reason. */
async function awaitVote(
  ports: CliPorts,
  client: ApiClient,
  path: string,
  wish: "voter" | "learner",
): Promise<MemberDocument> {
  const untilMs = ports.clock.nowMs() + VOTE_MS_MAX;
  while (true) {
    const member = await client.get<MemberDocument>(path);
    if (member.vote === wish) return member;
    const isOver = ports.clock.nowMs() >= untilMs;
    if (isOver || !(await pause(ports, POLL_MS))) {
      const { reason, refusal } = await client.get<ConsensusDocument>("/v1/consensus");
      throw new CliError(
        EXIT.unknown,
        `${member.name} is no ${wish} yet: ${refusal ?? reason ?? "the leader has not said why"}`,
        "The wish is agreed and stays. 'guacamole consensus' shows how the group stands.",
      );
    }
  }
}

/** `guacamole member set` */
export function changeCommand(ports: CliPorts) {
  return clientCommand("set")
    .description("Changes what a member is wanted for. Only what is named changes.")
    .argument("<name>", "the member")
    .option(
      "--failover-priority <number>",
      "among equally advanced standbys the higher one is promoted",
      parseWhole,
    )
    .addOption(
      new Option("--failover <yes|no>", "whether it may be promoted at all").choices(["yes", "no"] as const),
    )
    .addOption(
      new Option("--sync <yes|no>", "whether it may be a synchronous standby").choices([
        "yes",
        "no",
      ] as const),
    )
    .addOption(
      new Option("--clone-source <yes|no>", "whether others are cloned from it").choices([
        "yes",
        "no",
      ] as const),
    )
    .option("--zone <zone>", "what fails together: a rack, a data centre; '' takes it away")
    .addOption(new Option("--voting <wish>", "its vote").choices(["auto", "voter", "learner"] as const))
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole member set m3 --failover-priority 10\n  guacamole member set m3 --failover no --voting learner\n  guacamole member set m3 --zone b --clone-source yes",
    )
    .action(async (name, options) => {
      const { failoverPriority, failover, sync, cloneSource, zone, voting } = options;
      const change = {
        ...(failoverPriority === undefined ? {} : { failoverPriority }),
        ...(failover === undefined ? {} : { isNoFailover: failover === "no" }),
        ...(sync === undefined ? {} : { isNoSync: sync === "no" }),
        ...(cloneSource === undefined ? {} : { isCloneSource: cloneSource === "yes" }),
        ...(zone === undefined ? {} : { zone: zone === "" ? null : zone }),
        ...(voting === undefined ? {} : { voting }),
      };
      if (Object.keys(change).length === 0) {
        throw new CliError(
          EXIT.usage,
          "nothing to change was named",
          "--failover-priority, --failover, --sync, --clone-source, --zone and --voting are.",
        );
      }
      const client = await openClient(ports, options);
      const changed = await client.patch<MemberDocument>(`/v1/members/${encodeURIComponent(name)}`, change, {
        idempotencyKey: ports.newId(),
      });
      printResult(ports, options.output, changed, (shown) => renderMemberList([shown]));
    });
}

function parseWhole(text: string): number {
  if (!/^-?[0-9]{1,7}$/.test(text)) throw new InvalidArgumentError("A whole number is wanted.");
  return Number(text);
}
