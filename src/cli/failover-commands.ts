import { Command } from "@commander-js/extra-typings";
import type { ExplanationDocument, FailoverDocument } from "../api/documents.ts";
import type { ProblemDocument } from "../api/problem.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderExplanation, renderLossOffer } from "./render-explanation.ts";
import { renderFailover, renderFailovers } from "./render-history.ts";

/** `guacamole history` */
export function historyCommand(ports: CliPorts) {
  const list = clientCommand("list")
    .description("Lists every change of the primary, newest first.")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const failovers = await client.get<FailoverDocument[]>("/v1/history");
      const widthMax = ports.terminal.widthMax();
      printResult(ports, options.output, failovers, (all) => renderFailovers(all, widthMax));
    });
  const show = clientCommand("show")
    .description(
      "Draws one change of the primary as a timeline: what was seen, how long each phase took, how far everybody was, and why the others were not chosen.",
    )
    .argument("<number>", "its number, as in 'guacamole history list'")
    .addHelpText("after", "\nExample:\n  guacamole history show 3")
    .action(async (number, options) => {
      const client = await openClient(ports, options);
      const failover = await client.get<FailoverDocument>(`/v1/history/${encodeURIComponent(number)}`);
      printResult(ports, options.output, failover, renderFailover);
    });
  return new Command("history")
    .summary("every change of the primary, with its phases")
    .description("Shows every change of the primary: why, on what evidence, how long each phase took.")
    .addCommand(list, { isDefault: true })
    .addCommand(show);
}

/** `guacamole explain` */
export function explainCommand(ports: CliPorts) {
  return clientCommand("explain")
    .summary("what stands in the way now, or what would happen if members were lost")
    .description(
      "Says how things stand and why, or what would happen if hosts were lost: would it fail over, to whom, in how long, with what possible loss; and if not, what stands in the way and what can be done about it.",
    )
    .option("--if <words>", "for instance 'm1,m2 lost' or 'zone=a lost'")
    .option("--lost <names>", "names of members, with commas; all that is named is lost at once")
    .option("--zone <name>", "all members of this zone")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole explain\n  guacamole explain --if 'm1,m2 lost'\n  guacamole explain --zone a",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const query = new URLSearchParams(hypothesisOf(options));
      const path = query.size === 0 ? "/v1/explain" : `/v1/explain?${query}`;
      printResult(ports, options.output, await client.get<ExplanationDocument>(path), renderExplanation);
    });
}

interface Hypothesis {
  readonly if?: string | undefined;
  readonly lost?: string | undefined;
  readonly zone?: string | undefined;
}

/** What is asked about, put together from all options. @throws {CliError} where they contradict each other. */
function hypothesisOf(options: Hypothesis): Record<string, string> {
  const words = (options.if ?? "").trim().replace(/(^|[\s,])(are |is |were |was )?lost$/, "");
  const parts = words
    .replaceAll(/\bzone(\s*=\s*|\s+)/g, "zone=")
    .split(/[\s,]+/)
    .filter((word) => word !== "" && word !== "and");
  if (options.if !== undefined && parts.length === 0)
    throw new CliError(
      EXIT.usage,
      "--if names nobody",
      "For instance: --if 'm1,m2 lost', --if 'zone=a lost'.",
    );
  const isZone = (part: string) => part.startsWith("zone=");
  const zones = [...(options.zone === undefined ? [] : [options.zone]), ...parts.filter(isZone).map(zoneOf)];
  const [zone, other] = [...new Set(zones)];
  if (other !== undefined)
    throw new CliError(
      EXIT.usage,
      "one zone can be asked about at a time",
      "Name the members of the other one: --lost m1,m2.",
    );
  const lost = [...(options.lost ?? "").split(","), ...parts.filter((part) => !isZone(part))]
    .map((name) => name.trim())
    .filter((name) => name !== "");
  return {
    ...(lost.length === 0 ? {} : { lost: [...new Set(lost)].join(",") }),
    ...(zone === undefined ? {} : { zone }),
  };
}

function zoneOf(part: string): string {
  return part.slice("zone=".length);
}

/** `guacamole failover` */
export function failoverCommand(ports: CliPorts) {
  return clientCommand("failover")
    .summary("end the present reign by hand, losing nothing unless you take a loss")
    .description(
      "Ends the present reign: for a primary that is no use any more. 'guacamole switchover' hands over in good order.\nNothing that was acknowledged is lost. Where that cannot be had, --accept-loss shows what would be lost, and takes it.",
    )
    .option("--to <name>", "wins among those that hold everything")
    .option(
      "--accept-loss [token]",
      "take a loss: shows it and asks on a terminal; with the token of 'guacamole explain' it does not ask",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole failover --to m2\n  guacamole explain --output json | jq -r .lossOffer.token\n  guacamole failover --accept-loss TOKEN",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const { to, acceptLoss } = options;
      const token = acceptLoss === true ? await confirmedLoss(ports, client) : acceptLoss;
      const body = {
        ...(to === undefined ? {} : { to }),
        ...(token === undefined ? {} : { acceptLoss: token }),
      };
      const answer = await client
        .post<ExplanationDocument>("/v1/failover", body, { idempotencyKey: ports.newId() })
        .catch((error: unknown) => {
          throw withOffer(error);
        });
      printResult(
        ports,
        options.output,
        answer,
        () =>
          "The reign is being ended. 'guacamole status --watch' shows who follows; 'guacamole history' how it went.\n",
      );
    });
}

/** Where a refusal shows a loss that could be taken, so does what is said of it. */
function withOffer(error: unknown): unknown {
  if (!(error instanceof CliError)) return error;
  const { exitCode, message, hint, problem } = error;
  const { lossOffer = null } = (problem ?? {}) as Partial<ProblemDocument>;
  if (lossOffer === null) return error;
  const hints = [...(hint === null ? [] : [hint]), ...renderLossOffer(lossOffer)];
  return new CliError(exitCode, message, hints.join("\n  "), problem);
}

/** Shows what would be lost and asks. @throws {CliError} where there is nothing to take, or nobody to ask. */
async function confirmedLoss(ports: CliPorts, client: ApiClient): Promise<string> {
  const { lossOffer, sentence } = await client.get<ExplanationDocument>("/v1/explain");
  if (lossOffer === null) {
    throw new CliError(
      EXIT.refused,
      `There is no loss to take now. ${sentence}`,
      "Without --accept-loss the reign is ended in the safe way.",
    );
  }
  const { member, position, wouldLose, token } = lossOffer;
  if (!ports.terminal.isInteractive) {
    throw new CliError(
      EXIT.usage,
      `${member} would follow at ${position}, and this would be lost: ${wouldLose}. Nothing was changed.`,
      `Say --accept-loss ${token} if that is meant (it holds until ${lossOffer.expiresAt}).`,
    );
  }
  const question = `${sentence}\n${member} would follow at ${position}. Lost would be ${wouldLose}.\nType the member's name to take that loss: `;
  if ((await ports.readLine(question)) !== member) throw new CliError(EXIT.refused, "Nothing was changed.");
  return token;
}
