import type { ClusterDocument, ConsensusDocument, OperationDocument } from "../api/documents.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, formatResult, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import { followOperation, pause } from "./follow-operation.ts";
import type { CliPorts } from "./ports.ts";
import { renderConsensus } from "./render-members.ts";
import { renderOperation, renderStatus } from "./render-status.ts";

const WATCH_MS = 1_000;
/** Cursor home, and clear what was there. */
const CLEAR_SCREEN = "\u001b[H\u001b[J";

/** `guacamole init` */
export function initCommand(ports: CliPorts) {
  return clientCommand("init")
    .summary("build the PostgreSQL cluster: initdb on one member, clones on the others")
    .description(
      "Builds the PostgreSQL cluster: initdb on one member, then the others clone it.\nNothing is ever built over data: a directory that is not empty is refused and left alone.",
    )
    .option("--primary <name>", "the member that runs initdb (default: the one that is asked)")
    .option("--encoding <name>", "encoding of the databases", "UTF8")
    .option("--locale <name>", "locale of the databases", "C.UTF-8")
    .option(
      "--wal-segment-mb <size>",
      "size of a WAL file: 1, 2, 4, … 1024; small ones make a failover faster",
      Number,
      4,
    )
    .option("--wait", "follow it to its end", true)
    .option("--no-wait", "return once it has begun")
    .addHelpText("after", "\nExamples:\n  guacamole init\n  guacamole init --primary m1 --locale en_US.UTF-8")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const { primary, encoding, locale, walSegmentMb } = options;
      const body = { encoding, locale, walSegmentMb, ...(primary === undefined ? {} : { primary }) };
      const begun = await client.post<OperationDocument>("/v1/cluster/initialize", body, {
        idempotencyKey: ports.newId(),
      });
      await finish(ports, client, begun, options);
    });
}

interface FinishOptions {
  readonly wait: boolean;
  readonly output: "table" | "json" | "yaml";
}

/** Follows what has begun if that is wanted, and prints it. */
export async function finish(
  ports: CliPorts,
  client: ApiClient,
  begun: OperationDocument,
  options: FinishOptions,
): Promise<void> {
  const operation = options.wait ? await followOperation(ports, client, begun) : begun;
  printResult(ports, options.output, operation, (value) =>
    options.wait ? `The ${value.kind} of ${value.member} succeeded.\n` : renderOperation(value),
  );
}

/** `guacamole status` */
export function statusCommand(ports: CliPorts) {
  return clientCommand("status")
    .summary("members, roles, timelines, lag, and why things are as they are")
    .description(
      "Shows the cluster as the asked member sees it: what is agreed, what is seen, and the reason of each member.",
    )
    .option("-w, --watch", "again each second, until Ctrl-C")
    .option("-v, --verbose", "with the group that agrees")
    .option("--linearizable", "wait until everything that was agreed before is known to the asked member")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole status --watch\n  guacamole status --output json | jq '.members[] | {name, role, state, lagBytes}'",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const path = options.linearizable === true ? "/v1/cluster?consistency=linearizable" : "/v1/cluster";
      if (options.watch !== true) {
        printResult(ports, options.output, await client.get<ClusterDocument>(path), renderStatus);
        if (options.verbose === true && options.output === "table") {
          ports.terminal.out(`\n${renderConsensus(await client.get<ConsensusDocument>("/v1/consensus"))}`);
        }
        return;
      }
      const { terminal } = ports;
      const clear = terminal.isInteractive && options.output === "table" ? CLEAR_SCREEN : "";
      do {
        const text = await watchOnce(() => client.get<ClusterDocument>(path), options.output);
        terminal.out(`${clear}${text}`);
      } while (await pause(ports, WATCH_MS));
    });
}

/** A member that is away for a moment does not end the watching. */
async function watchOnce(
  read: () => Promise<ClusterDocument>,
  format: FinishOptions["output"],
): Promise<string> {
  try {
    const cluster = await read();
    // One document per line, so that a program can follow along.
    return format === "json" ? `${JSON.stringify(cluster)}\n` : formatResult(format, cluster, renderStatus);
  } catch (error) {
    if (error instanceof CliError && error.exitCode === EXIT.unreachable) return `${error.message}\n`;
    throw error;
  }
}
