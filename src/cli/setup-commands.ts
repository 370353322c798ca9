import type { FormedDocument, JoinedDocument } from "../api/documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import type { CliPorts } from "./ports.ts";

/** A certificate is signed and a log is copied: longer than other writes. */
const JOIN_DEADLINE_MS = 60_000;

/** `guacamole form` */
export function formCommand(ports: CliPorts) {
  return clientCommand("form")
    .summary("make this member the first of a new control plane")
    .description(
      "Makes the member on this host the first of a new control plane. PostgreSQL is not touched.\nPrints the first admin token: it is shown once and kept nowhere.",
    )
    .option("--name <cluster>", "name of the cluster, for people", "main")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole form --name orders\n  guacamole form --output json | jq -r .token",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const formed = await client.post<FormedDocument>(
        "/v1/form",
        { name: options.name },
        { deadlineMs: JOIN_DEADLINE_MS },
      );
      printResult(ports, options.output, formed, () =>
        [
          `The cluster '${options.name}' is formed.`,
          "",
          `  admin token   ${formed.token}`,
          "                keep it: it is shown this once (GUACAMOLE_TOKEN)",
          "",
          "Next: 'guacamole member add' here makes a join token for another host;",
          "'guacamole init' builds PostgreSQL on all members.",
          "",
        ].join("\n"),
      );
    });
}

/** `guacamole join` */
export function joinCommand(ports: CliPorts) {
  return (
    clientCommand("join")
      .summary("make this member part of an existing control plane")
      .description(
        "Makes the member on this host part of the control plane that the member at ADDRESS belongs to.\nA join token comes from 'guacamole member add' there. It names the CA to trust, and is good for one member.",
      )
      .argument("<address>", "host:port of the API of any member")
      // Here it is the join token; on the socket nobody asks for another one.
      .option("--name <cluster>", "join only if the cluster has this name")
      .addHelpText("after", "\nExample:\n  guacamole join 10.0.0.1:8008 --token gcm_join.…")
      .action(async (address, options) => {
        const { token, ...rest } = options;
        const joinToken = token ?? ports.env["GUACAMOLE_JOIN_TOKEN"] ?? "";
        const client = await openClient(ports, rest);
        const joined = await client.post<JoinedDocument>(
          "/v1/join",
          {
            address,
            token: joinToken,
            ...(options.name === undefined ? {} : { expectedName: options.name }),
          },
          { deadlineMs: JOIN_DEADLINE_MS },
        );
        printResult(
          ports,
          options.output,
          joined,
          () =>
            `This member belongs to the cluster '${joined.clusterName}' now. 'guacamole status' shows it.\n`,
        );
      })
  );
}
