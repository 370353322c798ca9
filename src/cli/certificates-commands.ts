import { Command } from "@commander-js/extra-typings";
import type { AuthorityDocument } from "../api/authority-documents.ts";
import type { OperationDocument } from "../api/documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { followOperation } from "./follow-operation.ts";
import type { CliPorts } from "./ports.ts";
import { renderAuthority } from "./render-authority.ts";
import { renderOperation } from "./render-status.ts";

const PATH = "/v1/certificates/authority";

/** `guacamole certificates …` */
export function certificatesCommand(ports: CliPorts) {
  return new Command("certificates")
    .summary("the cluster's certificate authority: show it, and replace it without a restart")
    .description(
      `The cluster has an authority of its own, which signs what members show to each other, on the API and on PostgreSQL's port.
Members renew their certificates by themselves; the authority itself is replaced by asking for it:

  trusting   a new authority is made, and every member trusts both
  signing    members show certificates of the new one, within seconds
  succeeded  no member shows one of the former any more: it counts for nobody

No connection, stream or session ends for it, and at no moment do two members distrust each other. What it waits for, and at
which member, 'guacamole certificates show' says. A member that is away is waited for until it is back or removed.`,
    )
    .addCommand(showCommand(ports))
    .addCommand(caCommand(ports))
    .addCommand(rotateCommand(ports))
    .addCommand(steerCommand(ports, "hold"))
    .addCommand(steerCommand(ports, "resume"))
    .addCommand(steerCommand(ports, "cancel"));
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .description("Shows the authority, and while another comes in its place, how far each member is.")
    .addHelpText("after", "\nExample:\n  guacamole certificates show")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<AuthorityDocument>(PATH), renderAuthority);
    });
}

function caCommand(ports: CliPorts) {
  return clientCommand("ca")
    .summary("print the certificates to trust (PEM): for --ca, sslrootcert and browsers")
    .description(
      "Prints the certificates of the authorities that are trusted now, for clients: --ca here, sslrootcert in PostgreSQL's.\nWhile the authority is being replaced there are two; a client that has both is right at every moment of it.",
    )
    .addHelpText("after", "\nExample:\n  guacamole certificates ca > ca.crt")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const { trusted } = await client.get<AuthorityDocument>(PATH);
      const shown = trusted.map(({ certificatePem }) => certificatePem);
      printResult(ports, options.output, shown, (pems) => pems.join(""));
    });
}

function rotateCommand(ports: CliPorts) {
  return clientCommand("rotate-authority")
    .summary("replace the authority, without a restart")
    .description(
      `Makes a new authority and has it take the place of the present one, in steps that each member has to have carried out.

Clients that trust the present one (--ca, sslrootcert) need the new one once members show certificates of it. Give it to them
in between:

  guacamole certificates rotate-authority --hold   makes it; every member trusts both, nothing is signed yet
  guacamole certificates ca > ca.crt               both certificates: to every client
  guacamole certificates resume                    goes on to the end

Join tokens that nobody used end when the new one begins to sign. An authority whose key was stolen is trusted until the end of
this: remove members that are away instead of waiting for them.`,
    )
    .option("--hold", "sign nothing before 'guacamole certificates resume'")
    .option(
      "--wait",
      "follow it to its end (with --hold: until every member trusts both is for 'show' to say)",
      true,
    )
    .option("--no-wait", "return once it has begun")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole certificates rotate-authority\n  guacamole certificates rotate-authority --hold --reason 'INC-7: a backup was read'",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const body = options.hold === true ? { hold: true } : {};
      const begun = await client.post<OperationDocument>(PATH, body, { idempotencyKey: ports.newId() });
      // What is held ends when somebody says so.
      const isFollowed = options.wait && options.hold !== true;
      const operation = isFollowed ? await followOperation(ports, client, begun) : begun;
      printResult(ports, options.output, operation, (shown) =>
        isFollowed ? "The cluster's certificate authority is replaced.\n" : renderOperation(shown),
      );
    });
}

const STEERING = {
  hold: "Holds the change of the authority: no further step is begun. Both stay trusted meanwhile.",
  resume: "Lets the change of the authority go on that was held.",
  cancel:
    "Ends the change of the authority: the one from before stays. At once while nothing is signed by the new one; else members have\ntheir certificates signed by the one from before again, and the new one goes when nobody shows one of it any more.",
} as const;

function steerCommand(ports: CliPorts, wish: keyof typeof STEERING) {
  return clientCommand(wish)
    .description(STEERING[wish])
    .addHelpText("after", `\nExample:\n  guacamole certificates ${wish}`)
    .action(async (options) => {
      const client = await openClient(ports, options);
      const key = { idempotencyKey: ports.newId() };
      const steered = await client.post<AuthorityDocument>(`${PATH}/${wish}`, {}, key);
      printResult(ports, options.output, steered, renderAuthority);
    });
}
